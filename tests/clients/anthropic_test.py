"""/v1/messages through the anthropic SDK."""

import asyncio
import json
import unittest

import anthropic

from quire_server import MODEL_NAME, QuireServer

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
FORCED = {"tools": [WEATHER], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}


class AnthropicTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = QuireServer()
        cls.server.__enter__()
        cls.client = anthropic.Anthropic(base_url=cls.server.http_url, api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    def arguments(self, **arguments):
        extra = {"temperature": arguments.pop("temperature", 0)}
        return {"model": MODEL_NAME, "messages": QUESTION, "max_tokens": 40, "extra_body": extra, **arguments}

    def create(self, **arguments):
        return self.client.messages.create(**self.arguments(**arguments))

    def test_an_answer_is_one_block_of_text(self):
        message = self.create()
        self.assertEqual((message.type, message.role, message.model), ("message", "assistant", MODEL_NAME))
        self.assertTrue(message.id.startswith("msg_"))
        self.assertEqual([block.type for block in message.content], ["text"])
        self.assertIn("Paris", message.content[0].text)
        self.assertEqual((message.stop_reason, message.stop_sequence), ("end_turn", None))
        self.assertGreater(message.usage.input_tokens + message.usage.cache_read_input_tokens, 10)
        self.assertTrue(message._request_id)

    def test_what_is_cached_is_not_counted_twice(self):
        system = "You know every city of the world and everything that ever happened there. " * 6
        first, second = (self.create(system=system, max_tokens=2).usage for _ in range(2))
        self.assertGreater(second.cache_read_input_tokens, first.cache_read_input_tokens + 16)
        self.assertEqual(*(usage.input_tokens + usage.cache_read_input_tokens for usage in (first, second)))

    def test_tokens_are_counted_as_they_are_used(self):
        blocks = {"system": [{"type": "text", "text": "Be brief."}], "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}]}]}
        count = self.client.messages.count_tokens(model=MODEL_NAME, **blocks).input_tokens
        usage = self.create(**blocks, max_tokens=1).usage
        self.assertEqual(count, usage.input_tokens + usage.cache_read_input_tokens)

    def test_ends_are_told_apart(self):
        cut = self.create(max_tokens=3)
        self.assertEqual((cut.stop_reason, cut.usage.output_tokens), ("max_tokens", 3))
        stopped = self.create(stop_sequences=["Paris", "Berlin"])
        self.assertEqual((stopped.stop_reason, stopped.stop_sequence), ("stop_sequence", "Paris"))
        self.assertNotIn("Paris", stopped.content[0].text)

    def test_a_last_message_of_the_assistants_is_continued(self):
        begun = [*QUESTION, {"role": "assistant", "content": "The capital of France is"}]
        self.assertTrue(self.create(messages=begun).content[0].text.startswith(" Paris"))

    def test_a_stream_tells_the_same_as_an_answer(self):
        whole = self.create()
        with self.client.messages.stream(**self.arguments()) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_message()
        self.assertEqual(final.content[0].text, whole.content[0].text)
        self.assertEqual(final.stop_reason, whole.stop_reason)
        self.assertEqual(final.usage.output_tokens, whole.usage.output_tokens)
        raw = [kind for kind in kinds if kind not in ("text", "content_block_delta")]
        self.assertEqual(raw, ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"])

    def test_asyncio_streams_many_at_once(self):
        async def run():
            async with anthropic.AsyncAnthropic(base_url=self.server.http_url, api_key="none", max_retries=0) as client:
                async def one():
                    async with client.messages.stream(**self.arguments(max_tokens=12)) as stream:
                        return "".join([text async for text in stream.text_stream])
                return await asyncio.gather(*(one() for _ in range(8)))
        texts = asyncio.run(run())
        self.assertEqual(len(set(texts)), 1)
        self.assertIn("Paris", texts[0])

    def assert_weather(self, block):
        self.assertEqual((block.type, block.name), ("tool_use", "get_weather"))
        self.assertEqual(sorted(block.input), ["city", "days"])
        self.assertIn(block.input["days"], range(1, 10))

    def test_a_tool_is_called_and_its_result_goes_back(self):
        message = self.create(**FORCED, max_tokens=100)
        self.assertEqual(message.stop_reason, "tool_use")
        self.assertEqual(len(message.content), 1)
        self.assert_weather(message.content[0])
        named = self.create(tools=[WEATHER], tool_choice={"type": "tool", "name": "get_weather"}, max_tokens=100)
        self.assert_weather(named.content[0])
        result = {"type": "tool_result", "tool_use_id": message.content[0].id, "content": [{"type": "text", "text": "Sunny."}]}
        conversation = [*QUESTION, {"role": "assistant", "content": message.content},
                        {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]}]
        answer = self.create(messages=conversation, tools=[WEATHER], tool_choice={"type": "none"}, max_tokens=10)
        self.assertEqual([block.type for block in answer.content], ["text"])

    def test_a_call_is_streamed_in_pieces(self):
        pieces = []
        with self.client.messages.stream(**self.arguments(**FORCED, max_tokens=100)) as stream:
            for event in stream:
                if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                    pieces.append(event.delta.partial_json)
            final = stream.get_final_message()
        self.assertEqual(final.stop_reason, "tool_use")
        self.assert_weather(final.content[0])
        self.assertGreater(len(pieces), 3)
        self.assertEqual(json.loads("".join(pieces)), final.content[0].input)

    def test_an_answer_has_the_form_of_a_schema(self):
        schema = {"type": "object", "properties": {"capital": {"enum": ["Paris", "Rome"]}}, "required": ["capital"],
                  "additionalProperties": False}
        message = self.create(output_config={"format": {"type": "json_schema", "schema": schema}})
        self.assertIn(json.loads(message.content[0].text)["capital"], ["Paris", "Rome"])

    def test_what_is_wrong_is_said_in_the_form_that_the_client_knows(self):
        for arguments, name in (
            ({"messages": []}, "messages"),
            ({"messages": [{"role": "system", "content": "x"}]}, "messages[0].role"),
            ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages[0].content[0].type"),
            ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": 1}]}]},
             "messages[0].content[0].input"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"temperature": "warm"}, "temperature"),
            ({"stop_sequences": [""]}, "stop_sequences"),
            ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
            ({"tools": [{**WEATHER, "name": "a b"}]}, "tools[0].name"),
            ({"tools": [{"name": "a", "input_schema": 1}]}, "tools[0].input_schema"),
            ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name"),
        ):
            with self.subTest(arguments), self.assertRaises(anthropic.BadRequestError) as caught:
                self.create(**arguments)
            error = caught.exception.body["error"]
            self.assertEqual(error["type"], "invalid_request_error")
            self.assertTrue(error["message"].startswith(name), error["message"])
            self.assertTrue(caught.exception.request_id)
        with self.assertRaises(anthropic.NotFoundError) as caught:
            self.create(model="no-such-model")
        self.assertEqual(caught.exception.body["error"]["type"], "not_found_error")
        with self.assertRaises(anthropic.BadRequestError):
            self.client.messages.count_tokens(model=MODEL_NAME, messages=[])
        with self.assertRaises(anthropic.RequestTooLargeError):
            self.create(messages=[{"role": "user", "content": "x" * (17 << 20)}])


if __name__ == "__main__":
    unittest.main()
