"""`quire bench serve` over HTTP, against the real server; tests/e2e has it over gRPC."""

import json
import subprocess
import unittest

from quire_server import BINARY, MODEL_NAME, QuireServer


class BenchServeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = QuireServer("--max-model-len", "1024").__enter__()
        cls.addClassCleanup(cls.server.stop)

    def bench(self, *flags):
        command = [BINARY, "bench", "serve", "--url", self.server.http_url, "--json", *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def measure(self, *flags):
        result = self.bench(*flags)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return json.loads(result.stdout)

    def test_completions_of_token_ids_have_exact_lengths(self):
        load = self.measure("--prompt-form", "tokens", "--num-prompts", "8", "--max-concurrency", "4", "--input-len", "16",
                            "--output-len", "6")
        self.assertEqual(load["model_id"], MODEL_NAME)
        self.assertEqual((load["completed"], load["failed"]), (8, 0))
        self.assertEqual((load["total_input_tokens"], load["total_output_tokens"]), (8 * 16, 8 * 6))
        self.assertGreater(load["median_ttft_ms"], 0)

    def test_chats_arrive_in_bursts_and_find_their_history_cached(self):
        load = self.measure("--endpoint", "chat", "--num-prompts", "3", "--turns", "3", "--input-len", "40",
                            "--output-len", "8", "--request-rate", "50", "--burstiness", "0.5")
        self.assertEqual((load["num_prompts"], load["completed"]), (9, 9))
        self.assertGreater(load["total_cached_tokens"], 3 * 2 * 32)

    def test_what_the_server_refuses_is_counted_by_its_status(self):
        result = self.bench("--num-prompts", "3", "--input-len", "3000", "--output-len", "4")
        self.assertEqual(result.returncode, 1)
        load = json.loads(result.stdout)
        self.assertEqual(load["errors_by_kind"], {"HTTP 400": 3})


if __name__ == "__main__":
    unittest.main()
