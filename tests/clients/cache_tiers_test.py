"""What the openai package and the request log tell of a cache that outlived its server."""

import json
import pathlib
import tempfile
import unittest

import openai

from quire_server import MODEL_NAME, QuireServer


def story(topic):
    """Some hundred tokens that no other topic begins with."""
    return f"{topic}: " + " ".join(f"on day {day} we saw a harbour." for day in range(60))


def ask_all(server):
    """What each endpoint tells of its prompt's cached tokens."""
    with openai.OpenAI(base_url=server.http_url + "/v1", api_key="none", max_retries=0) as client:
        chat = client.chat.completions.create(
            model=MODEL_NAME, messages=[{"role": "system", "content": story("Chat")}], max_tokens=2)
        completion = client.completions.create(model=MODEL_NAME, prompt=[story("One"), story("Two")], max_tokens=2)
        response = client.responses.create(
            model=MODEL_NAME, input="Go on.", instructions=story("Response"), max_output_tokens=2)
    return [chat.usage.prompt_tokens_details, completion.usage.prompt_tokens_details,
            response.usage.input_tokens_details]


class CacheTiersTest(unittest.TestCase):
    def test_usage_tells_what_came_from_the_disk(self):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder, "requests.jsonl")
            flags = ["--kv-disk-path", f"{folder}/pages", "--kv-disk-size", "128MiB", "--request-log", str(log)]
            with QuireServer(*flags) as server:
                before = ask_all(server)
            with QuireServer(*flags) as server:
                after = ask_all(server)
            lines = [json.loads(line) for line in log.read_text().splitlines()]
        for details in before:
            self.assertFalse(hasattr(details, "cached_tokens_disk"), details)
        for details, prompts in zip(after, (1, 2, 1)):
            self.assertGreater(details.cached_tokens_disk, 300 * prompts)
            self.assertLessEqual(details.cached_tokens_disk, details.cached_tokens)
            self.assertFalse(hasattr(details, "cached_tokens_host"), details)
        self.assertEqual(sum(line.get("cached_tokens_disk", 0) for line in lines),
                         sum(details.cached_tokens_disk for details in after))


if __name__ == "__main__":
    unittest.main()
