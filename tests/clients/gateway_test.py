"""The Shepherd Model Gateway in front of two replicas, as it comes from PyPI: no files, no network but theirs."""

import concurrent.futures
import signal
import subprocess
import threading
import unittest

import grpc
import openai
from gateway import Gateway
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from quire_server import MODEL_NAME, QuireServer
from vllm_stubs import complete, connect, vllm

PAGE = 32
PROTO = "../../proto"
TEXTS = (
    "Hello, world!", "  two  spaces\tand\n\n\nlines ", "it's we'll I'M", "12345 3.14 1e-9 ٣٤", "naïve Straße 東京 🙂👩‍👩‍👧",
    "a\u00a0b\u2003c\u180ed", "<|im_start|>user\nHi<|im_end|>", "def f(x):\n    return x**2  # ok", "\x00\x7f", "e\u0301",
)


def tokenize(server, text):
    """What the server itself makes of a text."""
    description = subprocess.run(
        ["protoc", f"-I{PROTO}", "--include_imports", "--descriptor_set_out=/dev/stdout", "quire/v1/inference.proto"],
        check=True, capture_output=True).stdout
    files = descriptor_pb2.FileDescriptorSet.FromString(description)
    messages = message_factory.GetMessages(files.file, pool=descriptor_pool.DescriptorPool())
    call = grpc.insecure_channel(server.grpc_target).unary_unary(
        "/quire.v1.InferenceService/Tokenize",
        request_serializer=messages["quire.v1.TokenizeRequest"].SerializeToString,
        response_deserializer=messages["quire.v1.TokenizeResponse"].FromString)
    request = messages["quire.v1.TokenizeRequest"](text=text, add_special_tokens=True, parse_special_tokens=True)
    return list(call(request, timeout=20).token_ids)


class TwoReplicas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.servers = [cls.enterClassContext(QuireServer("--block-size", str(PAGE), "--threads", "1")) for _ in range(2)]
        cls.gateway = cls.enterClassContext(Gateway(*cls.servers))
        cls.client = openai.OpenAI(base_url=cls.gateway.url + "/v1", api_key="none", max_retries=0)
        cls.addClassCleanup(cls.client.close)


class RoutingTest(TwoReplicas):
    def test_reads_text_as_the_server_does(self):
        for text in TEXTS:
            with self.subTest(text=text):
                answer = self.gateway.post("/v1/tokenize", {"model": MODEL_NAME, "prompt": text})
                self.assertEqual(answer["tokens"], tokenize(self.servers[0], text))

    def test_sends_a_prompt_to_the_replica_that_has_it(self):
        # The replicas get their prompts past the gateway, which can know of them from KV events only.
        stubs = [connect(server) for server in self.servers]
        prompts = [" ".join(f"{word} {i}" for i in range(60)) for word in ("red", "green", "blue", "black", "white", "grey")]
        num_pages = 0
        for i, prompt in enumerate(prompts):
            tokens = tokenize(self.servers[0], prompt)
            complete(stubs[i % 2], tokens, max_tokens=1)
            num_pages += len(tokens) // PAGE
        self.gateway.wait_for(lambda: self.gateway.metric("smg_kv_index_entries") >= num_pages)
        for prompt in prompts:
            answer = self.client.completions.create(model=MODEL_NAME, prompt=prompt, temperature=0, max_tokens=4)
            self.assertEqual(answer.usage.prompt_tokens_details.cached_tokens, answer.usage.prompt_tokens - 1, prompt)
        self.assertEqual(self.gateway.metric("smg_cache_aware_policy_branch_total", branch="event_hit"), len(prompts))

        self.gateway.post("/flush_cache", {})
        self.gateway.wait_for(lambda: self.gateway.metric("smg_kv_index_entries") == 0)


class DrainTest(TwoReplicas):
    def running(self, server):
        return connect(server).GetLoads(vllm.GetLoadsRequest()).loads[0].num_running_reqs

    def test_lets_clients_see_nothing_of_a_replica_that_drains(self):
        questions = [f"Tell me about the number {i}." for i in range(6)]

        def ask(question, stream):
            answer = self.client.chat.completions.create(
                model=MODEL_NAME, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=16,
                stream=stream)
            if not stream:
                return answer.choices[0].message.content
            return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)

        expected = {question: ask(question, stream=False) for question in questions}
        drained = threading.Event()

        def keep_asking(worker):
            answers = []
            while not drained.is_set() or len(answers) < 3:
                question = questions[(worker + len(answers)) % len(questions)]
                answers.append((question, ask(question, stream=(worker + len(answers)) % 2 == 0)))
            return answers

        with concurrent.futures.ThreadPoolExecutor(6) as clients:
            running = [clients.submit(keep_asking, worker) for worker in range(6)]
            try:
                self.gateway.wait_for(lambda: any(self.running(server) >= 2 for server in self.servers))
                busy = max(self.servers, key=self.running)
                self.assertEqual(busy.stop(signal.SIGTERM), 0)
            finally:
                drained.set()
            for future in running:
                for question, answer in future.result():
                    self.assertEqual(answer, expected[question])
        self.assertNotIn("requests are still running", busy.log())


if __name__ == "__main__":
    unittest.main()
