"""deploy/python: installs by itself, is typed, and talks to a server."""

import asyncio
import hashlib
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import grpc

from quire_server import MODEL_NAME, QuireServer

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "python"
LONG = {"max_tokens": 1500, "ignore_eos": True, "temperature": 0}
PATIENCE_S = 20

# A user's program: mypy must accept it, and see the one mistake in it.
TYPED_PROGRAM = """
import quire

async def asynchronous(client: quire.AsyncClient) -> str:
    async for part in client.chat([{"role": "user", "content": "Hi"}], temperature=0.5, stop="x"):
        print(part.text, part.usage.completion_tokens if part.usage else 0)
    return (await client.generate("Hi", n=2).answer()).text

def synchronous(client: quire.Client) -> list[int]:
    for part in client.generate([1, 2, 3], logit_bias={5: 1.0}):
        print(part.token_ids)
    client.generate("Hi", temprature=0.5)
    return client.tokenize("Hi")
"""


def setUpModule():
    global installed, server, quire
    installed = tempfile.TemporaryDirectory()
    # With what is in this environment instead of a fresh one, so that nothing unpinned is fetched.
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--no-build-isolation", "--no-deps", "--target", installed.name, PACKAGE], check=True)
    sys.path.insert(0, installed.name)
    import quire

    server = QuireServer().__enter__()


def tearDownModule():
    server.stop()
    installed.cleanup()


def await_idle(client):
    """Waits until nothing runs; the last statistics."""
    deadline = time.monotonic() + PATIENCE_S
    while (stats := client.stats()).requests_running or stats.requests_waiting:
        if time.monotonic() > deadline:
            raise AssertionError(f"still busy: {stats}")
        time.sleep(0.02)
    return stats


class PackageTest(unittest.TestCase):
    def test_installing_leaves_the_source_tree_as_it_was(self):
        names = sorted(path.name for path in PACKAGE.iterdir())
        self.assertEqual(names, ["README.md", "pyproject.toml", "quire", "setup.py"])
        self.assertFalse((PACKAGE / "quire" / "v1").exists())

    def test_types_are_complete_and_reach_the_user(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder, "program.py")
            program.write_text(TYPED_PROGRAM)
            checked = subprocess.run(
                [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", folder, program,
                 *pathlib.Path(installed.name, "quire").glob("*.py")],
                cwd=installed.name, capture_output=True, text=True)
        errors = [line for line in checked.stdout.splitlines() if ": error:" in line]
        complaints = [line for line in errors if not line.startswith("quire/v1/")]  # What protoc writes is not strict.
        self.assertEqual(len(complaints), 1, checked.stdout + checked.stderr)
        self.assertIn('"temprature"', complaints[0])


class ClientTest(unittest.TestCase):
    def setUp(self):
        self.client = quire.Client(server.grpc_target)
        self.addCleanup(self.client.close)

    def test_an_answer_comes_in_parts_that_make_up_the_whole(self):
        parts = list(self.client.chat("What is the capital of France?", temperature=0, max_tokens=40))
        self.assertGreater(len(parts), 3)
        self.assertIn("Paris", "".join(part.text for part in parts))
        self.assertEqual({part.finish_reason for part in parts[:-1]}, {None})
        self.assertEqual(parts[-1].finish_reason, "stop")
        self.assertEqual(parts[-1].usage.completion_tokens, sum(len(part.token_ids) for part in parts))
        self.assertGreater(parts[-1].timings.decode, 0)

    def test_whole_answers_samples_and_log_probabilities(self):
        settings = {"temperature": 0, "max_tokens": 4, "logprobs": 2, "prompt_logprobs": 1}
        whole = self.client.generate("One, two, three,", **settings).answer()
        self.assertIn("four", whole.text)
        self.assertEqual([logprob.token_id for logprob in whole.logprobs], list(whole.token_ids))
        self.assertEqual(len(whole.logprobs[0].top), 2)
        self.assertEqual(len(whole.prompt_logprobs), whole.usage.prompt_tokens - 1)
        samples = self.client.generate("Once", n=3, seed=1, max_tokens=8).answers()
        self.assertEqual(len({sample.text for sample in samples}), 3)

    def test_tokens_and_text_are_converted_both_ways_and_serve_as_prompts(self):
        tokens = self.client.tokenize("The quick brown fox")
        self.assertEqual(self.client.detokenize(tokens), "The quick brown fox")
        self.assertEqual(len(self.client.tokenize("<|im_end|>", parse_special=True)), 1)
        settings = {"temperature": 0, "max_tokens": 5, "stop": "never said"}
        self.assertEqual(
            self.client.generate(tokens, **settings).answer().text,
            self.client.generate("The quick brown fox", **settings).answer().text)

    def test_models_and_statistics_are_told(self):
        self.assertEqual([model.name for model in self.client.models()], [MODEL_NAME])
        stats = await_idle(self.client)
        self.assertEqual(stats.kv_pages_free + stats.kv_pages_cached, stats.kv_pages_total)

    def test_leaving_the_loop_cancels(self):
        before = await_idle(self.client).completion_tokens_total
        for _ in self.client.generate("A story:", **LONG):
            break
        with self.client.generate("A story:", **LONG) as stream:
            for _ in stream:
                break
        self.assertLess(await_idle(self.client).completion_tokens_total - before, 2000)

    def test_cancelling_from_another_thread_ends_the_parts(self):
        stream = self.client.generate("A story:", **LONG)
        next(stream)
        threading.Thread(target=stream.cancel).start()
        self.assertLess(sum(1 for _ in stream), 1500)
        await_idle(self.client)

    def test_mistakes_are_exceptions_that_name_the_field(self):
        with self.assertRaises(quire.InvalidArgument) as refused:
            self.client.generate("Hi", top_p=7).answer()
        self.assertEqual(refused.exception.field, "sampling_params.top_p")
        self.assertIn("top_p", str(refused.exception))
        with self.assertRaises(quire.InvalidArgument) as refused:
            self.client.chat([{"role": "", "content": "Hi"}]).answer()
        self.assertEqual(refused.exception.field, "messages[0].role")
        with self.assertRaises(quire.InvalidArgument):
            self.client.generate([]).answer()
        with self.assertRaises(quire.InvalidArgument):
            self.client.detokenize([-1])
        with self.assertRaises(quire.NotFound) as unknown:
            quire.Client(server.grpc_target, model="no-such").tokenize("Hi")
        self.assertEqual(unknown.exception.reason, "MODEL_NOT_FOUND")
        with self.assertRaises(TypeError):
            self.client.generate("Hi", temprature=1)

    def test_timeouts_and_dead_targets_are_exceptions(self):
        with self.assertRaises(TimeoutError) as late:
            self.client.generate("A story:", timeout=0.3, **LONG).answer()
        self.assertIsInstance(late.exception, quire.DeadlineExceeded)
        with self.assertRaises(quire.Unavailable):
            quire.Client("127.0.0.1:1").models()
        await_idle(self.client)

    def test_a_server_with_tenants_takes_their_keys(self):
        tenants = pathlib.Path(installed.name) / "tenants.yaml"
        digest = hashlib.sha256(b"owl").hexdigest()
        tenants.write_text(f"tenants: [{{name: owls, keys: [{digest}]}}]\n")
        with QuireServer("--tenants", str(tenants)) as locked:
            with quire.Client(locked.grpc_target, api_key="owl") as client:
                self.assertTrue(client.generate("Once", max_tokens=3).answer().text)
                self.assertEqual(client.models()[0].name, MODEL_NAME)
            with quire.Client(locked.grpc_target) as client, self.assertRaises(quire.Error) as refused:
                client.models()
            self.assertEqual(refused.exception.code, grpc.StatusCode.UNAUTHENTICATED)
            self.assertEqual(refused.exception.reason, "INVALID_API_KEY")

    def test_usage_tells_what_came_from_a_tier(self):
        prompt = " ".join(f"On day {day} we saw a harbour." for day in range(60))
        usages = []
        for _ in range(2):
            with QuireServer("--kv-disk-path", f"{installed.name}/pages", "--kv-disk-size", "64MiB") as tiered:
                with quire.Client(tiered.grpc_target) as client:
                    usages.append(client.generate(prompt, max_tokens=2).answer().usage)
        self.assertEqual((usages[0].cached_tokens, usages[0].cached_tokens_disk), (0, 0))
        self.assertGreater(usages[1].cached_tokens_disk, 300)
        self.assertEqual(usages[1].cached_tokens_disk, usages[1].cached_tokens)
        self.assertEqual(usages[1].cached_tokens_host, 0)

    def test_a_full_server_says_when_to_come_back(self):
        with QuireServer("--max-num-seqs", "1", "--max-waiting-requests", "1") as small:
            with quire.Client(small.grpc_target) as client:
                # One runs and one waits, whichever they are; the others are refused at once.
                streams = [client.generate("A story:", **LONG) for _ in range(5)]
                refusals = queue.Queue()

                def read(stream):
                    try:
                        list(stream)
                    except quire.ResourceExhausted as error:
                        refusals.put(error)

                readers = [threading.Thread(target=read, args=[stream]) for stream in streams]
                for reader in readers:
                    reader.start()
                refused = [refusals.get(timeout=PATIENCE_S) for _ in range(3)]
                for stream in streams:
                    stream.cancel()
                for reader in readers:
                    reader.join()
                self.assertTrue(all(error.retry_delay >= 0.1 for error in refused))

    def test_many_threads_share_a_client(self):
        alone = self.client.generate("Seven rivers:", temperature=0, max_tokens=12).answer().text
        texts = []

        def ask():
            texts.append(self.client.generate("Seven rivers:", temperature=0, max_tokens=12).answer().text)

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(texts, [alone] * 12)


class AsyncClientTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = quire.AsyncClient(server.grpc_target)
        self.addAsyncCleanup(self.client.close)

    async def test_an_answer_comes_in_parts(self):
        stream = self.client.chat("What is the capital of France?", temperature=0, max_tokens=40)
        parts = [part async for part in stream]
        self.assertGreater(len(parts), 3)
        self.assertIn("Paris", "".join(part.text for part in parts))
        self.assertEqual(parts[-1].finish_reason, "stop")

    async def test_many_answers_at_once(self):
        ask = lambda: self.client.generate("Seven rivers:", temperature=0, max_tokens=12).answer()
        alone = await ask()
        answers = await asyncio.gather(*(ask() for _ in range(32)))
        self.assertEqual({answer.text for answer in answers}, {alone.text})

    async def test_leaving_the_loop_and_cancelling_the_task_cancel(self):
        before = (await self.idle()).completion_tokens_total
        async for _ in self.client.generate("A story:", **LONG):
            break
        async with self.client.generate("A story:", **LONG) as stream:
            await anext(stream)
        task = asyncio.create_task(self.client.generate("A story:", **LONG).answer())
        while not (await self.client.stats()).requests_running:
            await asyncio.sleep(0.01)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        self.assertLess((await self.idle()).completion_tokens_total - before, 3000)

    async def test_errors_are_those_of_the_other_client(self):
        with self.assertRaises(quire.InvalidArgument) as refused:
            await self.client.generate("Hi", top_p=7).answer()
        self.assertEqual(refused.exception.field, "sampling_params.top_p")
        with self.assertRaises(quire.DeadlineExceeded):
            await self.client.generate("A story:", timeout=0.3, **LONG).answer()

    async def test_the_rest(self):
        tokens = await self.client.tokenize("The quick brown fox")
        self.assertEqual(await self.client.detokenize(tokens), "The quick brown fox")
        self.assertEqual([model.name for model in await self.client.models()], [MODEL_NAME])

    async def idle(self):
        deadline = time.monotonic() + PATIENCE_S
        while (stats := await self.client.stats()).requests_running or stats.requests_waiting:
            self.assertLess(time.monotonic(), deadline, stats)
            await asyncio.sleep(0.02)
        return stats


if __name__ == "__main__":
    unittest.main()
