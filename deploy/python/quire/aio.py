"""The client for asyncio. Its methods are those of client.Client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Callable

import grpc
import grpc.aio

from quire import errors, requests, responses
from quire.base import ClientBase
from quire.v1 import admin_pb2
from quire.v1 import inference_pb2 as pb


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


class AsyncClient(ClientBase[AsyncStream]):
    """To be made and used inside one event loop."""

    _insecure_channel = staticmethod(grpc.aio.insecure_channel)
    _secure_channel = staticmethod(grpc.aio.secure_channel)
    _stream = AsyncStream

    async def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        request = requests.tokenize_request(self._model, text, add_special, parse_special)
        return list((await self._unary(self._inference.Tokenize, request)).token_ids)

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        request = requests.detokenize_request(self._model, token_ids)
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
            return await method(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None
