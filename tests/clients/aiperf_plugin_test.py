"""What deploy/aiperf sends and hears, against the real server. aiperf itself, with all that it depends on over a gigabyte,
is not installed here: quire_aiperf.wire knows nothing of it."""

import asyncio
import pathlib
import sys
import unittest

import grpc

from quire_server import MODEL_NAME, QuireServer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy/aiperf"))
from quire_aiperf import wire  # noqa: E402

CHAT = "/quire.v1.InferenceService/Chat"
GENERATE = "/quire.v1.InferenceService/Generate"


class RequestTest(unittest.TestCase):
    def test_sampling_parameters_keep_their_names(self):
        request = wire.generate_request({"model": "m", "prompt": "Once", "stream": True, "max_tokens": 5, "seed": 3,
                                         "stop": "x", "ignore_eos": True, "stream_options": {"include_usage": True}})
        self.assertEqual(request, {"model": "m", "text": "Once", "sampling_params": {
            "max_tokens": 5, "seed": 3, "stop": ["x"], "ignore_eos": True}})

    def test_messages_may_come_in_parts_of_text(self):
        request = wire.chat_request({"max_completion_tokens": 7, "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hello, "}, {"type": "text", "text": "you."}]}]})
        self.assertEqual(request["messages"][1], {"role": "user", "content": "Hello, you."})
        self.assertEqual(request["sampling_params"], {"max_tokens": 7})

    def test_images_and_lists_of_prompts_are_refused(self):
        with self.assertRaisesRegex(ValueError, "text alone"):
            wire.chat_request({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})
        with self.assertRaisesRegex(ValueError, "one text"):
            wire.generate_request({"prompt": ["a", "b"]})


class ServerTest(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = QuireServer().__enter__()
        cls.addClassCleanup(cls.server.stop)

    async def asyncSetUp(self):
        self.service = wire.InferenceService(self.server.grpc_target)
        await self.service.open()
        self.addAsyncCleanup(self.service.close)

    async def ask(self, path, request):
        return [wire.response_dict(message) async for message in self.service.start(path, request, timeout_s=60)]

    async def test_both_methods_stream_text_and_end_with_usage(self):
        chat = wire.chat_request({"model": MODEL_NAME, "max_tokens": 6, "temperature": 0, "ignore_eos": True,
                                  "messages": [{"role": "user", "content": "Name a river."}]})
        generate = wire.generate_request({"prompt": "The river", "max_tokens": 6, "temperature": 0, "ignore_eos": True})
        for path, request in ((CHAT, chat), (GENERATE, generate)):
            parts = await self.ask(path, request)
            self.assertGreater(len(parts), 1)
            self.assertTrue("".join(part["text"] for part in parts))
            self.assertEqual(parts[-1]["usage"]["completion_tokens"], 6)
            self.assertGreater(parts[-1]["usage"]["prompt_tokens"], 0)

    async def test_many_streams_run_at_once(self):
        request = wire.generate_request({"prompt": "The river", "max_tokens": 4, "ignore_eos": True})
        answers = await asyncio.gather(*(self.ask(GENERATE, request) for _ in range(16)))
        self.assertEqual([answer[-1]["usage"]["completion_tokens"] for answer in answers], [4] * 16)

    async def test_what_the_server_refuses_is_an_error_with_its_words(self):
        with self.assertRaises(grpc.aio.AioRpcError) as refused:
            await self.ask(GENERATE, wire.generate_request({"prompt": "x", "temperature": -1}))
        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("temperature", refused.exception.details())

    async def test_a_request_of_the_wrong_type_never_leaves(self):
        with self.assertRaisesRegex(ValueError, "temperature"):
            self.service.start(GENERATE, wire.generate_request({"prompt": "x", "temperature": "warm"}))

    async def test_a_stream_can_be_cancelled(self):
        call = self.service.start(GENERATE, wire.generate_request({"prompt": "x", "max_tokens": 500, "ignore_eos": True}))
        async for _ in call:
            call.cancel()
            break
        self.assertEqual(await call.code(), grpc.StatusCode.CANCELLED)


if __name__ == "__main__":
    unittest.main()
