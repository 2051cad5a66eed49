"""litellm, by which many programs speak to any model, against the server as an OpenAI-compatible one."""

import os
import unittest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # It would look for news of prices on the network.

import litellm

from quire_server import MODEL_NAME, QuireServer

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


class LitellmTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(QuireServer())

    def chat(self, **options):
        return litellm.completion(model=f"openai/{MODEL_NAME}", api_base=self.server.http_url + "/v1", api_key="none",
                                  messages=QUESTION, **{"temperature": 0, "max_tokens": 24, "num_retries": 0, **options})

    def test_chats(self):
        answer = self.chat()
        self.assertIn("Paris", answer.choices[0].message.content)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_streams(self):
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, self.chat().choices[0].message.content)
        rebuilt = litellm.stream_chunk_builder(chunks, messages=QUESTION)
        self.assertEqual(rebuilt.choices[0].message.content, text)

    def test_completes_text(self):
        answer = litellm.text_completion(model=f"text-completion-openai/{MODEL_NAME}", prompt="The capital of France is",
                                         api_base=self.server.http_url + "/v1", api_key="none", temperature=0, max_tokens=4)
        self.assertIn("Paris", answer.choices[0].text)

    def test_errors_are_its_own(self):
        with self.assertRaises(litellm.BadRequestError):
            self.chat(temperature=-1)
        with self.assertRaises(litellm.NotFoundError):
            litellm.completion(model="openai/gpt-4", api_base=self.server.http_url + "/v1", api_key="none", messages=QUESTION,
                               num_retries=0)


if __name__ == "__main__":
    unittest.main()
