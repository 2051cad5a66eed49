"""The openai package against the server: everything that its users call, plain, streamed and asynchronous."""

import asyncio
import unittest

import openai

from quire_server import MODEL_NAME, QuireServer

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


class OpenAiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(QuireServer("--max-num-seqs", "8", "--max-waiting-requests", "4"))
        cls.client = openai.OpenAI(base_url=cls.server.http_url + "/v1", api_key="none", max_retries=0)
        cls.addClassCleanup(cls.client.close)

    def chat(self, **options):
        return self.client.chat.completions.create(
            **{"model": MODEL_NAME, "messages": QUESTION, "temperature": 0, "max_tokens": 24, **options})

    def complete(self, **options):
        return self.client.completions.create(
            **{"model": MODEL_NAME, "prompt": "The capital of France is", "temperature": 0, "max_tokens": 8, **options})

    def test_lists_and_describes_the_model(self):
        self.assertEqual([model.id for model in self.client.models.list()], [MODEL_NAME])
        self.assertEqual(self.client.models.retrieve(MODEL_NAME).owned_by, "quire")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("another/model")

    def test_chats(self):
        answer = self.chat()
        self.assertIn("Paris", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertIn(answer.choices[0].finish_reason, ("stop", "length"))
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        again = self.chat()
        self.assertGreater(again.usage.prompt_tokens_details.cached_tokens, 0)
        self.assertEqual(again.choices[0].message.content, answer.choices[0].message.content)

    def test_streams_the_same_chat(self):
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual(chunks[-1].choices, [])
        self.assertGreater(chunks[-1].usage.completion_tokens, 1)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
        self.assertEqual(text, self.chat().choices[0].message.content)
        reasons = [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
        self.assertEqual([reason for reason in reasons if reason], reasons[-1:])

    def test_streams_with_the_packages_own_accumulator(self):
        with self.client.chat.completions.stream(model=MODEL_NAME, messages=QUESTION, temperature=0,
                                                 max_tokens=24) as stream:
            for _ in stream:
                pass
            completion = stream.get_final_completion()
        self.assertIn("Paris", completion.choices[0].message.content)

    def test_reports_log_probabilities(self):
        answer = self.chat(logprobs=True, top_logprobs=3, max_tokens=4)
        tokens = answer.choices[0].logprobs.content
        self.assertEqual(len(tokens), 4)
        for token in tokens:
            self.assertEqual(len(token.top_logprobs), 3)
            self.assertEqual(bytes(token.bytes).decode(), token.token)
            self.assertAlmostEqual(token.logprob, token.top_logprobs[0].logprob, 6)

    def test_samples_several_choices_with_a_seed(self):
        first = self.chat(n=3, temperature=1, seed=7)
        self.assertEqual([choice.index for choice in first.choices], [0, 1, 2])
        texts = [choice.message.content for choice in first.choices]
        self.assertGreater(len(set(texts)), 1)
        self.assertEqual(texts, [choice.message.content for choice in self.chat(n=3, temperature=1, seed=7).choices])

    def test_stops_at_a_string(self):
        answer = self.chat(stop=["Paris"])
        self.assertNotIn("Paris", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].finish_reason, "stop")

    def test_obeys_a_bias(self):
        banned = self.complete(max_tokens=1, logprobs=0)
        token = self.client.post("/../tokenize", cast_to=object,
                                 body={"prompt": banned.choices[0].text, "add_special_tokens": False})["tokens"][0]
        other = self.complete(max_tokens=1, logit_bias={str(token): -100})
        self.assertNotEqual(other.choices[0].text, banned.choices[0].text)

    def test_completes_texts_and_tokens(self):
        tokens = self.client.post("/../tokenize", cast_to=object, body={"prompt": "The capital of France is"})["tokens"]
        answer = self.complete(prompt=["The capital of France is", "The capital of Italy is"], n=2)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2, 3])
        self.assertIn("Paris", answer.choices[0].text)
        self.assertIn("Rome", answer.choices[2].text)
        self.assertEqual(self.complete(prompt=tokens).choices[0].text, answer.choices[0].text)
        self.assertEqual(self.complete(prompt=[tokens, tokens]).choices[1].text, answer.choices[0].text)

    def test_streams_completions(self):
        whole = self.complete().choices[0].text
        self.assertEqual("".join(chunk.choices[0].text for chunk in self.complete(stream=True)), whole)

    def test_echoes_with_log_probabilities(self):
        answer = self.complete(echo=True, logprobs=2, max_tokens=0).choices[0]
        self.assertEqual(answer.text, "The capital of France is")
        self.assertEqual("".join(answer.logprobs.tokens), answer.text)
        self.assertIsNone(answer.logprobs.token_logprobs[0])
        self.assertEqual(answer.logprobs.text_offset[1], len(answer.logprobs.tokens[0]))
        for token, logprob, top in list(zip(answer.logprobs.tokens, answer.logprobs.token_logprobs,
                                            answer.logprobs.top_logprobs))[1:]:
            self.assertEqual(top[token], logprob)

    def test_errors_are_the_packages_own(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(temperature=-1)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(openai.NotFoundError) as caught:
            self.chat(model="gpt-4")
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(max_tokens=1_000_000, stream=True)
        self.assertEqual(caught.exception.param, "max_tokens")

    def test_overload_is_a_rate_limit_that_retries_overcome(self):
        async def ask(client, number):
            answer = await client.completions.create(model=MODEL_NAME, prompt=f"Number {number}:", max_tokens=24,
                                                     extra_body={"ignore_eos": True})
            return answer.usage.completion_tokens

        async def ask_all(max_retries):
            async with openai.AsyncOpenAI(base_url=self.server.http_url + "/v1", api_key="none",
                                          max_retries=max_retries) as client:
                return await asyncio.gather(*(ask(client, i) for i in range(40)), return_exceptions=True)

        refused = [result for result in asyncio.run(ask_all(0)) if isinstance(result, Exception)]
        self.assertGreater(len(refused), 0)
        for error in refused:
            self.assertIsInstance(error, openai.RateLimitError)
            self.assertGreaterEqual(int(error.response.headers["retry-after"]), 1)
        self.assertEqual(asyncio.run(ask_all(20)), [24] * 40)

    def test_many_asynchronous_streams_answer_as_one_alone(self):
        async def collect(client, question):
            stream = await client.chat.completions.create(
                model=MODEL_NAME, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=16,
                stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        async def collect_all(questions):
            async with openai.AsyncOpenAI(base_url=self.server.http_url + "/v1", api_key="none") as client:
                return await asyncio.gather(*(collect(client, question) for question in questions))

        questions = [f"What is {i} plus {i}?" for i in range(6)]
        together = asyncio.run(collect_all(questions))
        alone = [asyncio.run(collect_all([question]))[0] for question in questions]
        self.assertEqual(together, alone)

    def test_ids_come_back(self):
        answer = self.client.with_options(default_headers={"X-Request-Id": "mine"}).chat.completions.with_raw_response
        raw = answer.create(model=MODEL_NAME, messages=QUESTION, max_tokens=1)
        self.assertEqual(raw.headers["x-request-id"], "mine")
        self.assertEqual(raw.parse().id, "chatcmpl-mine")


if __name__ == "__main__":
    unittest.main()
