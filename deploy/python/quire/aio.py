"""The client for asyncio. Its methods are those of client.Client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Callable, Optional

import grpc
import grpc.aio

from quire import errors, requests, responses
from quire.client import CHANNEL_OPTIONS, DEFAULT_TARGET
from quire.v1 import admin_pb2, admin_pb2_grpc, inference_pb2_grpc
from quire.v1 import inference_pb2 as pb

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncStream(AsyncIterator[responses.Part]):
    """The parts of an answer as they are made. Leaving it behind, by the end of an `async with` or of its last name,
    cancels what is left of the answer; so does cancelling the task that waits for it."""

    def __init__(self, call: Any):
        self._call = call
        self._cancelled = False

    async def __anext__(self) -> responses.Part:
        if self._cancelled:
            raise StopAsyncIteration
        try:
            response = await self._call.read()
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None
        if response is grpc.aio.EOF:
            raise StopAsyncIteration
        return responses.part(response)

    async def answers(self) -> list[responses.Answer]:
        """Waits for the end; one for each of the `n` samples."""
        return responses.answers([part async for part in self])

    async def answer(self) -> responses.Answer:
        """Waits for the end; the first sample."""
        return (await self.answers())[0]

    def cancel(self) -> None:
        """The server stops within a step. The parts end here. No effect at the end."""
        self._cancelled = True
        self._call.cancel()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        self.cancel()


class AsyncClient:
    """To be made and used inside one event loop."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        model: str = "",
        timeout: Optional[float] = None,
        credentials: Optional[grpc.ChannelCredentials] = None,
    ):
        self._model = model
        self._timeout = timeout
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        self._inference: Any = inference_pb2_grpc.InferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._admin: Any = admin_pb2_grpc.AdminServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def generate(
        self,
        prompt: requests.Prompt,
        *,
        priority: int = 0,
        timeout: Optional[float] = None,
        **params: Unpack[requests.SamplingParams],
    ) -> AsyncStream:
        request = requests.generate_request(self._model, prompt, priority, params)
        return AsyncStream(self._inference.Generate(request, timeout=self._pick(timeout)))

    def chat(
        self,
        messages: requests.Messages,
        *,
        priority: int = 0,
        timeout: Optional[float] = None,
        **params: Unpack[requests.SamplingParams],
    ) -> AsyncStream:
        request = requests.chat_request(self._model, messages, priority, params)
        return AsyncStream(self._inference.Chat(request, timeout=self._pick(timeout)))

    async def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        request = requests.tokenize_request(self._model, text, add_special, parse_special)
        return list((await self._unary(self._inference.Tokenize, request)).token_ids)

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        request = pb.DetokenizeRequest(model=self._model, token_ids=token_ids)
        return str((await self._unary(self._inference.Detokenize, request)).text)

    async def models(self) -> list[responses.Model]:
        return responses.models(await self._unary(self._inference.ListModels, pb.ListModelsRequest()))

    async def stats(self) -> responses.Stats:
        return responses.stats(await self._unary(self._admin.GetStats, admin_pb2.GetStatsRequest()))

    async def close(self) -> None:
        """Ends the connection, and every answer in flight."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def _unary(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return await method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None

    def _pick(self, timeout: Optional[float]) -> Optional[float]:
        return self._timeout if timeout is None else timeout
