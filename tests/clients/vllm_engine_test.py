"""vllm.grpc.engine.VllmEngine, call by call, as its stubs see it."""

import copy
import hashlib
import io
import json
import unittest
import zipfile

import grpc
from quire_server import MODEL_NAME, QuireServer
from vllm_stubs import PageMirror, TIMEOUT_S, common, complete, connect, generate, request, vllm

PAGE = 32


def prompt(first, num_tokens=PAGE):
    """Tokens that no other prompt of these tests begins with."""
    return [first + i for i in range(num_tokens)]


class VllmEngineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(QuireServer("--block-size", str(PAGE), "--max-model-len", "2048"))
        cls.stub = connect(cls.server)

    def expect_error(self, code, call):
        with self.assertRaises(grpc.RpcError) as raised:
            call()
        self.assertEqual(raised.exception.code(), code, raised.exception.details())
        return raised.exception.details()

    def test_streams_what_it_answers_at_once(self):
        whole = complete(self.stub, prompt(100), max_tokens=12, ignore_eos=True)
        *chunks, last = generate(self.stub, prompt(100), stream=True, max_tokens=12, ignore_eos=True)
        streamed = [token for message in chunks for token in message.chunk.token_ids]
        self.assertEqual(streamed, list(whole.output_ids))
        self.assertEqual(list(last.complete.output_ids), streamed)
        self.assertEqual(sum(message.chunk.completion_tokens for message in chunks), 12)
        self.assertTrue(all(message.chunk.prompt_tokens == PAGE for message in chunks))
        self.assertEqual((whole.finish_reason, whole.completion_tokens, whole.prompt_tokens), ("length", 12, PAGE))
        self.assertEqual(last.complete.cached_tokens, PAGE - 1)

    def test_answers_each_of_several_samples(self):
        messages = generate(self.stub, prompt(200), n=3, temperature=1, seed=7, max_tokens=5, ignore_eos=True)
        self.assertEqual(sorted(message.complete.index for message in messages), [0, 1, 2])
        self.assertEqual({message.complete.completion_tokens for message in messages}, {5})

    def test_takes_more_tokens_than_fit_to_mean_as_many_as_do(self):
        answer = complete(self.stub, prompt(300, 2040), max_tokens=100_000, ignore_eos=True)
        self.assertEqual((answer.completion_tokens, answer.finish_reason), (8, "length"))

    def test_tells_what_stopped_it(self):
        tokens = list(complete(self.stub, prompt(400), max_tokens=6, ignore_eos=True).output_ids)
        answer = complete(self.stub, prompt(400), max_tokens=6, ignore_eos=True, stop_token_ids=[tokens[2]])
        self.assertEqual((answer.finish_reason, answer.matched_token_id), ("stop", tokens[2]))
        self.assertEqual(list(answer.output_ids), tokens[:tokens.index(tokens[2]) + 1])
        text = list(self.stub.Generate(vllm.GenerateRequest(
            text="Count: one, two, three,", sampling_params=vllm.SamplingParams(temperature=0, max_tokens=40, stop=["five"]))))
        self.assertEqual((text[0].complete.finish_reason, text[0].complete.matched_stop_str), ("stop", "five"))

    def test_gives_log_probabilities_of_output_and_prompt(self):
        answer = complete(self.stub, prompt(500, 4), max_tokens=3, ignore_eos=True, logprobs=2, prompt_logprobs=1)
        self.assertEqual(list(answer.output_logprobs.token_ids), list(answer.output_ids))
        self.assertEqual([len(top.values) for top in answer.output_logprobs.top_logprobs], [2, 2, 2])
        self.assertEqual(answer.output_logprobs.top_logprobs[0].token_ids[0], answer.output_ids[0], "greedy")
        self.assertEqual(list(answer.input_logprobs.token_ids), prompt(500, 4))
        values = [entry.HasField("value") for entry in answer.input_logprobs.token_logprobs]
        self.assertEqual(values, [False, True, True, True])

    def test_says_what_is_wrong_with_a_request(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        for bad, field in ((dict(top_p=1.5), "top_p"), (dict(max_tokens=0), "max_tokens"), (dict(n=1000), ".n ")):
            self.assertIn(field, self.expect_error(invalid, lambda: generate(self.stub, prompt(0, 4), **bad)))
        self.assertIn("input_ids[0]", self.expect_error(invalid, lambda: generate(self.stub, [10**9])))
        self.expect_error(invalid, lambda: generate(self.stub, prompt(0, 3000)))
        self.assertIn("structural_tag must be JSON", self.expect_error(invalid, lambda: generate(self.stub, [1], structural_tag="x")))

    def test_aborts_by_name_and_gives_the_pages_back(self):
        for name in ("gone", "also-gone"):
            answer = self.stub.Generate(request(prompt(600), request_id=name, stream=True, max_tokens=2000, ignore_eos=True))
            next(answer)
            self.stub.Abort(vllm.AbortRequest(request_ids=["never-there", name]))
            self.expect_error(grpc.StatusCode.CANCELLED, lambda: list(answer))
        load = self.stub.GetLoads(vllm.GetLoadsRequest()).loads[0]
        self.assertEqual((load.num_total_reqs, load.num_used_tokens), (0, 0))
        self.assertGreater(load.max_total_num_tokens, 2048)

    def test_describes_itself(self):
        self.assertTrue(self.stub.HealthCheck(vllm.HealthCheckRequest()).healthy)
        model = self.stub.GetModelInfo(vllm.GetModelInfoRequest())
        self.assertEqual((model.served_model_name, model.max_context_length), (MODEL_NAME, 2048))
        self.assertTrue(model.is_generation)
        self.assertIn(2, model.eos_token_ids)
        self.assertEqual(self.stub.GetServerInfo(vllm.GetServerInfoRequest()).block_size, PAGE)

    def test_refuses_at_once_what_it_does_not_serve(self):
        unimplemented = grpc.StatusCode.UNIMPLEMENTED
        self.expect_error(unimplemented, lambda: self.stub.StartProfile(common.StartProfileRequest(), timeout=5))
        channel = grpc.insecure_channel(self.server.grpc_target)
        self.expect_error(unimplemented,
                          lambda: channel.unary_unary("/sglang.grpc.scheduler.SglangScheduler/HealthCheck")(b"", timeout=5))

    def embed(self, *input_ids, **fields):
        return self.stub.Embed(vllm.EmbedRequest(tokenized=vllm.TokenizedInput(input_ids=input_ids), **fields), timeout=TIMEOUT_S)

    def test_embeds_prompts(self):
        one, again, other = self.embed(504, 2365), self.embed(504, 2365, request_id="e"), self.embed(2365)
        self.assertEqual((one.prompt_tokens, one.embedding_dim, len(one.embedding)), (2, 576, 576))
        self.assertAlmostEqual(sum(x * x for x in one.embedding), 1, places=5)
        self.assertEqual(one.embedding, again.embedding)
        self.assertNotEqual(one.embedding, other.embedding)
        self.assertIn("input_ids", self.expect_error(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.embed()))
        self.assertIn("input_ids[0]", self.expect_error(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.embed(10**9)))

    def test_gives_its_tokenizer_out(self):
        chunks = list(self.stub.GetTokenizer(common.GetTokenizerRequest(), timeout=TIMEOUT_S))
        self.assertTrue(all(len(chunk.data) <= 64 * 1024 and not chunk.sha256 for chunk in chunks[:-1]))
        data = b"".join(chunk.data for chunk in chunks)
        self.assertEqual(chunks[-1].sha256, hashlib.sha256(data).hexdigest())
        archive = zipfile.ZipFile(io.BytesIO(data))
        self.assertIsNone(archive.testzip())
        tokenizer = json.loads(archive.read("tokenizer.json"))
        self.assertEqual(len(tokenizer["model"]["vocab"]), 49152)
        self.assertIn("messages", json.loads(archive.read("tokenizer_config.json"))["chat_template"])
        self.assertIn(2, json.loads(archive.read("generation_config.json"))["eos_token_id"])

    def subscribe(self, start=0):
        return self.stub.SubscribeKvEvents(common.SubscribeKvEventsRequest(start_sequence_number=start), timeout=TIMEOUT_S)

    def test_tells_subscribers_what_its_cache_has(self):
        self.stub.FlushCache(common.FlushCacheRequest())
        complete(self.stub, prompt(700, 2 * PAGE), max_tokens=1)
        early, mirror = self.subscribe(), PageMirror()
        first = next(early)
        self.assertEqual((first.snapshot.index, first.snapshot.count, first.snapshot.blocks), (0, 1, 2))
        mirror.apply(first)
        self.assertEqual(set(mirror.pages.values()), {tuple(prompt(700)), tuple(prompt(700 + PAGE))})

        again = copy.deepcopy(mirror)
        complete(self.stub, prompt(700, 3 * PAGE), max_tokens=1)
        mirror.follow(early, lambda mirror: len(mirror.pages) == 3)
        again.follow(self.subscribe(start=again.sequence), lambda again: again.sequence == mirror.sequence)
        self.assertEqual(again.pages, mirror.pages, "who comes back gets what it has missed")

        self.assertTrue(self.stub.FlushCache(common.FlushCacheRequest()).success)
        mirror.follow(early, lambda mirror: not mirror.pages)
        late = PageMirror()
        late.apply(next(self.subscribe()))
        self.assertEqual((late.pages, late.sequence), ({}, mirror.sequence))

    def test_tells_subscribers_of_another_life_to_begin_anew(self):
        for start in (1, 2**40):
            self.assertIn("subscribe from 0", self.expect_error(grpc.StatusCode.OUT_OF_RANGE,
                                                                lambda: next(self.subscribe(start))))


if __name__ == "__main__":
    unittest.main()
