"""/v1/responses through the openai SDK."""

import json
import unittest

import openai

import openai_tools_test
from quire_server import MODEL_NAME, QuireServer

# As chat completions have it, without the object around it.
WEATHER = {"type": "function", **openai_tools_test.WEATHER["function"]}
QUESTION = "What is the capital of France?"


class ResponsesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = QuireServer()
        cls.server.__enter__()
        cls.client = openai.OpenAI(base_url=cls.server.http_url + "/v1", api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    def create(self, input=QUESTION, **arguments):
        arguments = {"temperature": 0, "max_output_tokens": 60, **arguments}
        return self.client.responses.create(model=MODEL_NAME, input=input, **arguments)

    def test_an_answer_is_a_message(self):
        response = self.create(metadata={"a": "b"}, instructions="Be brief.")
        self.assertEqual((response.object, response.status, response.model), ("response", "completed", MODEL_NAME))
        self.assertIn("Paris", response.output_text)
        self.assertEqual([(item.type, item.role, item.status) for item in response.output], [("message", "assistant", "completed")])
        self.assertEqual((response.metadata, response.instructions), ({"a": "b"}, "Be brief."))
        self.assertEqual(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens)
        self.assertGreater(self.create(instructions="Be brief.").usage.input_tokens_details.cached_tokens, 0)

    def test_an_answer_that_is_cut_is_incomplete(self):
        response = self.create(max_output_tokens=2)
        self.assertEqual(response.status, "incomplete")
        self.assertEqual(response.incomplete_details.reason, "max_output_tokens")

    def test_items_say_the_same_as_the_chat_endpoint(self):
        items = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
        chat = self.client.chat.completions.create(
            model=MODEL_NAME, temperature=0, max_tokens=60,
            messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}])
        self.assertEqual(self.create(items).output_text, chat.choices[0].message.content)

    def test_a_conversation_goes_on_from_what_is_stored(self):
        first = self.create()
        whole = [{"role": "user", "content": QUESTION}, *first.output, {"role": "user", "content": "And of Italy?"}]
        second = self.create("And of Italy?", previous_response_id=first.id)
        self.assertEqual(second.output_text, self.create(whole).output_text)
        self.assertEqual(second.previous_response_id, first.id)
        self.assertGreater(second.usage.input_tokens, first.usage.input_tokens)
        third = self.create("Thanks.", previous_response_id=second.id, instructions="Be brief.")
        self.assertGreater(third.usage.input_tokens, second.usage.input_tokens)

    def test_a_response_can_be_read_again_and_deleted(self):
        response = self.create()
        self.assertEqual(self.client.responses.retrieve(response.id).output_text, response.output_text)
        self.client.responses.delete(response.id)
        for call in (self.client.responses.retrieve, self.client.responses.delete):
            with self.assertRaises(openai.NotFoundError):
                call(response.id)
        with self.assertRaises(openai.BadRequestError) as caught:
            self.create(previous_response_id=response.id)
        self.assertEqual((caught.exception.param, caught.exception.code), ("previous_response_id", "previous_response_not_found"))
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.retrieve(self.create(store=False).id)

    def test_a_stream_tells_the_same_as_an_answer(self):
        whole = self.create()
        with self.client.responses.stream(model=MODEL_NAME, input=QUESTION, temperature=0, max_output_tokens=60) as stream:
            events = list(stream)
            final = stream.get_final_response()
        kinds = [event.type for event in events]
        self.assertEqual(kinds[:4], ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"])
        self.assertEqual(kinds[-4:], ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"])
        self.assertEqual(set(kinds[4:-4]), {"response.output_text.delta"})
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual("".join(event.delta for event in events[4:-4]), whole.output_text)
        self.assertEqual(final.output_text, whole.output_text)
        self.assertEqual(final.usage.output_tokens, whole.usage.output_tokens)
        self.assertEqual(self.client.responses.retrieve(final.id).output_text, whole.output_text)

    def assert_weather(self, item):
        self.assertEqual((item.type, item.name, item.status), ("function_call", "get_weather", "completed"))
        arguments = json.loads(item.arguments)
        self.assertEqual(sorted(arguments), ["city", "days"])

    def test_a_function_is_called_and_its_output_goes_back(self):
        for choice in ("required", {"type": "function", "name": "get_weather"}):
            response = self.create(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False, max_output_tokens=100)
            self.assertEqual(len(response.output), 1)
            self.assert_weather(response.output[0])
        output = {"type": "function_call_output", "call_id": response.output[0].call_id, "output": "Sunny."}
        by_id = self.create([output], previous_response_id=response.id)
        by_items = self.create([{"role": "user", "content": QUESTION}, response.output[0], output])
        self.assertTrue(by_id.output_text)
        self.assertEqual(by_id.output_text, by_items.output_text)

    def test_a_call_is_streamed_in_pieces(self):
        arguments = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False}
        pieces, done = [], None
        for event in self.create(**arguments, max_output_tokens=100, stream=True):
            if event.type == "response.function_call_arguments.delta":
                pieces.append(event.delta)
            elif event.type == "response.function_call_arguments.done":
                done = event.arguments
            elif event.type == "response.completed":
                self.assert_weather(event.response.output[0])
        self.assertGreater(len(pieces), 3)
        self.assertEqual("".join(pieces), done)

    def test_an_answer_has_the_form_of_a_schema(self):
        schema = {"type": "object", "properties": {"capital": {"enum": ["Paris", "Rome"]}}, "required": ["capital"],
                  "additionalProperties": False}
        response = self.create(text={"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}})
        self.assertIn(json.loads(response.output_text)["capital"], ["Paris", "Rome"])
        self.assertEqual(response.text.format.type, "json_schema")

    def test_log_probabilities_are_those_of_the_chat_endpoint(self):
        response = self.create(include=["message.output_text.logprobs"], top_logprobs=2)
        part = response.output[0].content[0]
        self.assertEqual("".join(entry.token for entry in part.logprobs), response.output_text)
        self.assertEqual(response.top_logprobs, 2)
        chat = self.client.chat.completions.create(
            model=MODEL_NAME, temperature=0, max_tokens=60, logprobs=True, top_logprobs=2,
            messages=[{"role": "user", "content": QUESTION}])
        for entry, expected in zip(part.logprobs, chat.choices[0].logprobs.content):
            self.assertEqual((entry.token, entry.bytes), (expected.token, expected.bytes))
            self.assertAlmostEqual(entry.logprob, expected.logprob, places=4)
            self.assertEqual([top.token for top in entry.top_logprobs], [top.token for top in expected.top_logprobs])
        self.assertEqual(self.client.responses.retrieve(response.id).output, response.output)
        self.assertEqual(self.create(top_logprobs=2).output[0].content[0].logprobs, [])

    def test_log_probabilities_are_streamed_with_their_text(self):
        tokens, done, final = [], None, None
        for event in self.create(include=["message.output_text.logprobs"], top_logprobs=1, stream=True):
            if event.type == "response.output_text.delta":
                self.assertEqual("".join(entry.token for entry in event.logprobs), event.delta)
                tokens += event.logprobs
            elif event.type == "response.output_text.done":
                done = event
            elif event.type == "response.completed":
                final = event.response
        self.assertEqual([entry.token for entry in done.logprobs], [entry.token for entry in tokens])
        self.assertEqual([len(entry.top_logprobs) for entry in tokens], [1] * len(tokens))
        self.assertEqual([entry.token for entry in final.output[0].content[0].logprobs], [entry.token for entry in tokens])

    def test_what_a_response_answered_is_listed(self):
        first = self.create("One.", instructions="Be brief.", max_output_tokens=5)
        second = self.create([{"role": "user", "content": [{"type": "input_text", "text": "Two."}, {"type": "input_text", "text": "Three."}]},
                              {"type": "function_call", "call_id": "i", "name": "f", "arguments": "{}"},
                              {"type": "function_call_output", "call_id": "i", "output": "Four."}],
                             previous_response_id=first.id, max_output_tokens=5)
        page = self.client.responses.input_items.list(first.id)
        self.assertEqual([(item.type, item.role, item.content[0].text) for item in page.data], [("message", "user", "One.")])
        items = list(self.client.responses.input_items.list(second.id, order="asc", limit=2))  # Reads on, page by page.
        self.assertEqual([item.type for item in items], ["message", "message", "message", "function_call", "function_call_output"])
        self.assertEqual(items[0].content[0].text, "One.")
        self.assertEqual((items[1].id, items[1].role), (first.output[0].id, "assistant"))
        self.assertEqual([part.text for part in items[2].content], ["Two.", "Three."])
        self.assertEqual(len({item.id for item in items}), 5)
        newest = self.client.responses.input_items.list(second.id, limit=1, include=["message.input_image.image_url"])
        self.assertEqual(([item.output for item in newest.data], newest.has_more), (["Four."], True))
        self.assertEqual([item.id for item in self.client.responses.input_items.list(second.id)], [item.id for item in reversed(items)])

    def test_what_is_wrong_with_asking_for_what_is_stored_is_said(self):
        response = self.create(max_output_tokens=2)
        for arguments, param in (({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"order": "up"}, "order"),
                                 ({"after": "x"}, "after"), ({"include": ["x"]}, "include[0]")):
            with self.subTest(arguments), self.assertRaises(openai.BadRequestError) as caught:
                self.client.responses.input_items.list(response.id, **arguments)
            self.assertEqual(caught.exception.param, param)
        with self.assertRaises(openai.BadRequestError):
            self.client.responses.retrieve(response.id, stream=True)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.input_items.list("resp_x")

    def test_an_answer_follows_a_structural_tag(self):
        tag = {"type": "structural_tag", "format": {"type": "tag", "begin": "<a>", "end": "</a>", "content": {"type": "regex", "pattern": "[0-9]{3}"}}}
        self.assertRegex(self.create(text={"format": tag}).output_text, "^<a>[0-9]{3}</a>$")

    def test_what_is_wrong_is_said(self):
        for arguments, param in (
            ({"input": []}, "input"),
            ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
            ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content[0].type"),
            ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
            ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
            ({"max_output_tokens": 0}, "max_output_tokens"),
            ({"temperature": -1}, "temperature"),
            ({"background": True}, "background"),
            ({"metadata": {"a": 1}}, "metadata.a"),
            ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
            ({"tools": [{**WEATHER, "name": "a b"}]}, "tools[0].name"),
            ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice.name"),
            ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
            ({"extra_body": {"n": 2}}, "n"),
            ({"include": ["x"]}, "include[0]"),
            ({"top_logprobs": 21}, "top_logprobs"),
        ):
            with self.subTest(arguments), self.assertRaises(openai.BadRequestError) as caught:
                self.create(**arguments)
            self.assertEqual(caught.exception.param, param)
        with self.assertRaises(openai.NotFoundError):
            self.client.responses.create(model="gpt", input="x")


if __name__ == "__main__":
    unittest.main()
