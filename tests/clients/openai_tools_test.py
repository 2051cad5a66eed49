"""Tool calls and embeddings through the openai SDK."""

import json
import math
import unittest

import openai

from quire_server import MODEL_NAME, QuireServer

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}
QUESTION = [{"role": "user", "content": "What is the weather in Zürich?"}]


class ServerTest(unittest.TestCase):
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.server = QuireServer(*cls.flags)
        cls.server.__enter__()
        cls.client = openai.OpenAI(base_url=cls.server.http_url + "/v1", api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def chat(self, messages=QUESTION, **arguments):
        arguments = {"temperature": 0, "max_tokens": 100, **arguments}
        return self.client.chat.completions.create(model=MODEL_NAME, messages=messages, **arguments)


class ToolsTest(ServerTest):
    def assert_weather(self, call):
        self.assertEqual(call.type, "function")
        self.assertEqual(call.function.name, "get_weather")
        arguments = json.loads(call.function.arguments)
        self.assertEqual(sorted(arguments), ["city", "days"])
        self.assertIn(arguments["days"], range(1, 10))

    def test_a_named_tool_is_called(self):
        choice = {"type": "function", "function": {"name": "get_weather"}}
        answer = self.chat(tools=[CLOCK, WEATHER], tool_choice=choice).choices[0]
        self.assertEqual(answer.finish_reason, "tool_calls")
        self.assertIsNone(answer.message.content)
        self.assertEqual(len(answer.message.tool_calls), 1)
        self.assert_weather(answer.message.tool_calls[0])

    def test_a_required_call_is_streamed_in_pieces(self):
        stream = self.chat(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, stream=True)
        calls, finish_reasons = [], []
        for chunk in stream:
            choice = chunk.choices[0]
            if choice.finish_reason:
                finish_reasons.append(choice.finish_reason)
            for delta in choice.delta.tool_calls or []:
                if delta.id:
                    self.assertEqual((delta.index, delta.type), (len(calls), "function"))
                    calls.append(delta)
                else:
                    calls[delta.index].function.arguments += delta.function.arguments
        self.assertEqual(finish_reasons, ["tool_calls"])
        self.assertEqual(len(calls), 1)
        self.assert_weather(calls[0])

    def test_several_samples_have_calls_and_ids_of_their_own(self):
        answer = self.chat(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, n=3, temperature=1, seed=5)
        calls = [choice.message.tool_calls[0] for choice in answer.choices]
        for call in calls:
            self.assert_weather(call)
        self.assertEqual(len({call.id for call in calls}), 3)

    def test_a_result_goes_back_into_the_conversation(self):
        call = self.chat(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False).choices[0].message
        messages = [*QUESTION, call, {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "Sunny."}]
        answer = self.chat(messages, tools=[WEATHER], tool_choice="none", max_tokens=10).choices[0]
        self.assertTrue(answer.message.content)
        self.assertIsNone(answer.message.tool_calls)

    def test_what_is_wrong_with_tools_is_said(self):
        for arguments, param in (
            ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
            ({"tools": [WEATHER, WEATHER]}, "tools[1].function.name"),
            ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice.function.name"),
            ({"tool_choice": "required"}, "tool_choice"),
            ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": 1}}]}]},
             "messages[0].tool_calls[0].function.name"),
        ):
            with self.subTest(param), self.assertRaises(openai.BadRequestError) as caught:
                self.chat(**arguments)
            self.assertEqual(caught.exception.param, param)


class FreeAnswersTest(ServerTest):
    flags = ("--tool-call-parser", "hermes")

    def test_an_answer_without_a_call_is_text(self):
        answer = self.chat(tools=[WEATHER], max_tokens=8).choices[0]
        self.assertTrue(answer.message.content)
        self.assertIsNone(answer.message.tool_calls)
        self.assertEqual(answer.finish_reason, "length")
        plain = self.chat(max_tokens=8).choices[0]
        self.assertEqual(answer.message.content, plain.message.content, "this model's template shows no tools")


class EmbeddingsTest(ServerTest):
    def embed(self, input, **arguments):
        return self.client.embeddings.create(model=MODEL_NAME, input=input, **arguments)

    def test_embeddings_come_in_the_order_of_their_texts(self):
        texts = ["A cat sat.", "The quick brown fox", "x", "A cat sat."]
        answer = self.embed(texts, encoding_format="float")
        self.assertEqual([item.index for item in answer.data], [0, 1, 2, 3])
        vectors = [item.embedding for item in answer.data]
        for vector in vectors:
            self.assertEqual(len(vector), 576)
            self.assertAlmostEqual(math.fsum(x * x for x in vector), 1, places=5)
        self.assertEqual(vectors[0], vectors[3])
        self.assertNotEqual(vectors[0], vectors[1])
        self.assertEqual(self.embed(texts[1], encoding_format="float").data[0].embedding, vectors[1])
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens)

    def test_base64_holds_the_same_numbers(self):
        # The SDK asks for base64 by itself, and decodes it.
        numbers = self.embed("Hello", encoding_format="float").data[0].embedding
        for one, other in zip(numbers, self.embed("Hello").data[0].embedding, strict=True):
            self.assertAlmostEqual(one, other, places=7)

    def test_tokens_are_prompts_too(self):
        one = self.embed([504, 2365], encoding_format="float").data[0].embedding
        both = self.embed([[504, 2365], [504]], encoding_format="float").data
        self.assertEqual(both[0].embedding, one)
        self.assertEqual(len(both), 2)

    def test_fewer_dimensions_are_normalised_again(self):
        vector = self.embed("Hello", dimensions=64, encoding_format="float").data[0].embedding
        self.assertEqual(len(vector), 64)
        self.assertAlmostEqual(math.fsum(x * x for x in vector), 1, places=5)

    def test_what_is_wrong_is_said(self):
        for arguments, param in (
            ({"input": []}, "input"),
            ({"input": ""}, "input"),
            ({"input": [1e9]}, "input[0]"),
            ({"input": "a", "dimensions": 577}, "dimensions"),
            ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ):
            with self.subTest(arguments), self.assertRaises(openai.BadRequestError) as caught:
                self.embed(**arguments)
            self.assertEqual(caught.exception.param, param)


if __name__ == "__main__":
    unittest.main()
