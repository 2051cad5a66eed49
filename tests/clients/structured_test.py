"""Answers of a prescribed form, over gRPC: whatever the model would rather say, they parse and they validate."""

import concurrent.futures
import json
import re
import unittest

import jsonschema

from quire_server import QuireServer
from quire_stubs import grpc, pb, rpc
from structured_schemas import SCHEMAS

# A small model at temperature 1 may fill all of max_tokens before it closes a list: then it is asked once more. It also
# sees no reason why a number should ever end, so that the end-of-sequence token is made likelier.
ATTEMPTS = 8
END_TOKEN = 2


class StructuredTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(QuireServer("--max-num-seqs", "32"))
        cls.channel = cls.enterClassContext(grpc.insecure_channel(cls.server.grpc_target))
        cls.stub = rpc.InferenceServiceStub(cls.channel)

    def ask(self, output_format, prompt="Give an example.", **sampling):
        """Text by index of sample, and how each ended."""
        params = pb.SamplingParams(output_format=output_format, **{"max_tokens": 160, "temperature": 0, **sampling})
        request = pb.ChatRequest(messages=[pb.ChatMessage(role="user", content=prompt)], sampling_params=params)
        texts, ends = {}, {}
        for message in self.stub.Chat(request, timeout=300):
            texts[message.index] = texts.get(message.index, "") + message.text
            if message.finish_reason:
                ends[message.index] = message.finish_reason
        return texts, ends

    def ask_until_stopped(self, output_format, **sampling):
        for seed in range(ATTEMPTS):
            texts, ends = self.ask(output_format, temperature=1, seed=seed, logit_bias={END_TOKEN: 12}, **sampling)
            if ends[0] == pb.FINISH_REASON_STOP:
                return texts[0]
        self.fail(f"no answer within max_tokens; the last one: {texts[0]}")

    def refusal(self, **output_format):
        with self.assertRaises(grpc.RpcError) as caught:
            self.ask(pb.OutputFormat(**output_format))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("sampling_params.output_format", caught.exception.details())
        return caught.exception.details()

    def test_answers_to_a_hundred_schemas_parse_and_validate(self):
        self.assertGreaterEqual(len(SCHEMAS), 100)

        def check(named):
            name, schema = named
            text = self.ask_until_stopped(pb.OutputFormat(json_schema=json.dumps(schema)))
            jsonschema.Draft202012Validator(schema).validate(json.loads(text))

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for (name, schema), result in [(s, pool.submit(check, s)) for s in SCHEMAS]:
                with self.subTest(name, schema=json.dumps(schema)):
                    result.result()

    def test_answers_match_a_regular_expression_from_end_to_end(self):
        for pattern in (r"[0-9]{3}-[a-z]{2,5}", r"(yes|no), because [a-z ]{1,20}\.", r"\d{1,3}(\.\d{1,3}){3}", r"[^\n]{1,30}"):
            with self.subTest(pattern):
                self.assertRegex(self.ask_until_stopped(pb.OutputFormat(regex=pattern)), re.compile(f"^(?:{pattern})$"))

    def test_answers_are_derived_by_a_grammar(self):
        grammar = """root ::= sum
sum ::= product ("+" product){0,2}
product ::= [1-9] | "(" [1-9] "*" [1-9] ")"
"""
        text = self.ask_until_stopped(pb.OutputFormat(grammar=grammar))
        self.assertRegex(text, r"^([1-9]|\([1-9]\*[1-9]\))(\+([1-9]|\([1-9]\*[1-9]\))){0,2}$")

    def test_answers_are_one_of_the_choices_to_the_letter(self):
        choices = ["yes", "no\n", 'per"haps', "na\\ja", "grün"]
        texts, ends = self.ask(pb.OutputFormat(choice={"choices": choices}), n=8, temperature=1.5, seed=7)
        for index in range(8):
            self.assertIn(texts[index], choices)
            self.assertEqual(ends[index], pb.FINISH_REASON_STOP)

    def test_tags_in_free_text_hold_what_their_schemas_accept(self):
        person = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
                  "required": ["name", "age"]}
        older = {"type": "structural_tag", "triggers": ["<f="], "structures": [
            {"begin": "<f=person>", "schema": person, "end": "</f>"}, {"begin": "<f=yes>", "schema": {"type": "boolean"}, "end": "</f>"}]}
        schemas = {"person": person, "yes": {"type": "boolean"}}
        tags = [{"begin": f"<f={name}>", "content": {"type": "json_schema", "json_schema": schema}, "end": "</f>"} for name, schema in schemas.items()]
        free = {"type": "structural_tag", "format": {"type": "triggered_tags", "triggers": ["<f="], "tags": tags}}
        called = {"type": "structural_tag", "format": {"type": "triggered_tags", "triggers": ["<f="], "tags": tags, "at_least_one": True}}
        found = 0
        # "<" is made likely: in free text this model would hardly begin a tag.
        for form in (older, free, called):
            for seed in range(4):
                params = {"temperature": 1, "seed": seed, "max_tokens": 120, "logit_bias": {END_TOKEN: 6, 44: 6}}
                texts, ends = self.ask(pb.OutputFormat(structural_tag=json.dumps(form)), **params)
                if ends[0] != pb.FINISH_REASON_STOP:
                    continue
                parts = re.findall("<f=(.*?)>(.*?)</f>", texts[0], re.DOTALL)
                self.assertEqual(len(parts), texts[0].count("<f="), texts[0])
                found += len(parts)
                for name, body in parts:
                    jsonschema.validate(json.loads(body), schemas[name])
        self.assertGreater(found, 0)

    def test_parts_of_a_structural_tag_follow_one_another(self):
        schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 20}}, "required": ["a"]}
        form = {"format": {"type": "sequence", "elements": [
            {"type": "const_string", "value": "Thought: "}, {"type": "regex", "pattern": "[a-z ]{5,40}"},
            {"type": "or", "elements": [{"type": "const_string", "value": "\n"}, {"type": "grammar", "grammar": 'root ::= "." root | "!\\n"'}]},
            {"type": "tag", "begin": "<call>", "content": {"type": "json_schema", "json_schema": schema}, "end": ["</call>"]}]}}
        text = self.ask_until_stopped(pb.OutputFormat(structural_tag=json.dumps(form)))
        match = re.fullmatch(r"Thought: [a-z ]{5,40}(\n|\.*!\n)<call>(.*)</call>", text, re.DOTALL)
        self.assertIsNotNone(match, text)
        jsonschema.validate(json.loads(match[2]), schema)

    def test_excluded_texts_are_in_no_string(self):
        form = {"format": {"type": "json_schema", "json_schema": {"type": "string"}, "excludes": ["e", "a "]}}
        text = self.ask_until_stopped(pb.OutputFormat(structural_tag=json.dumps(form)))
        self.assertIsInstance(json.loads(text), str)
        self.assertNotRegex(text, "e|a ")

    def test_any_json_object_is_an_object(self):
        self.assertIsInstance(json.loads(self.ask_until_stopped(pb.OutputFormat(json_object={}))), dict)

    def test_forms_go_with_every_other_parameter(self):
        schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["a"]}
        output_format = pb.OutputFormat(json_schema=json.dumps(schema))
        for sampling in ({"top_k": 3, "temperature": 2}, {"top_p": 0.5, "temperature": 2}, {"min_p": 0.2, "temperature": 2},
                         {"repetition_penalty": 2, "presence_penalty": 2}, {"min_tokens": 100}, {"ignore_eos": True},
                         {"logprobs": 3}, {"n": 4, "temperature": 1, "seed": 3}):
            with self.subTest(sampling):
                texts, ends = self.ask(output_format, **sampling)
                for index in ends:
                    self.assertEqual(ends[index], pb.FINISH_REASON_STOP)
                    jsonschema.validate(json.loads(texts[index]), schema)
        texts, _ = self.ask(output_format, stop=['"a"'])
        self.assertRegex(texts[0], r"^\{\s*$")

    def test_the_same_seed_gives_the_same_answer_in_company(self):
        output_format = pb.OutputFormat(regex="[a-z ]{20,40}")
        alone = self.ask(output_format, temperature=1, seed=5)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            together = [pool.submit(self.ask, output_format, temperature=1, seed=seed) for seed in range(8)]
        self.assertEqual(together[5].result(), alone)

    def test_what_is_wrong_with_a_format_is_said(self):
        self.assertIn("one of json_object", self.refusal())
        self.assertIn('at $.properties.a: the keyword "uniqueItems"', self.refusal(
            json_schema='{"type": "object", "properties": {"a": {"type": "array", "uniqueItems": true}}}'))
        self.assertIn("must be JSON", self.refusal(json_schema='{"type": '))
        self.assertIn("no text", self.refusal(json_schema='{"$ref": "#"}'))
        self.assertIn("not closed", self.refusal(regex="(a"))
        self.assertIn("root", self.refusal(grammar='start ::= "a"'))
        self.assertIn("at least one", self.refusal(choice={}))
        self.assertIn("at most", self.refusal(regex="a" * 100_000))
        self.assertIn('structural_tag at $.format: the type "token" is not supported',
                      self.refusal(structural_tag='{"format": {"type": "token", "token": 3}}'))
        self.assertIn('at $.structures[0].schema: the keyword "not"', self.refusal(structural_tag=json.dumps(
            {"structures": [{"begin": "a", "schema": {"not": {}}, "end": "b"}], "triggers": ["a"]})))

    def test_a_form_that_costs_too_much_ends_its_own_request_alone(self):
        ambiguous = 'root ::= a a a a a\na ::= [^x]* [^y]* [^z]*'
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            bystander = pool.submit(self.ask, pb.OutputFormat(regex="[a-z]{30}"))
            with self.assertRaises(grpc.RpcError) as caught:
                self.ask(pb.OutputFormat(grammar=ambiguous), temperature=1, seed=1)
        self.assertIn(caught.exception.code(), (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT))
        self.assertRegex(bystander.result()[0][0], "^[a-z]{30}$")


if __name__ == "__main__":
    unittest.main()
