"""The client for threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Callable

import grpc

from quire import errors, requests, responses
from quire.base import ClientBase
from quire.v1 import admin_pb2
from quire.v1 import inference_pb2 as pb


class Stream(Iterator[responses.Part]):
    """The parts of an answer as they are made. Leaving it behind, by the end of a `with` or of its last name, cancels
    what is left of the answer."""

    def __init__(self, call: Any):
        self._call = call

    def __next__(self) -> responses.Part:
        try:
            return responses.part(next(self._call))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.CANCELLED and self._call.cancelled():
                raise StopIteration from None  # By `cancel`, so this is no news.
            raise errors.from_rpc_error(error) from None

    def answers(self) -> list[responses.Answer]:
        """Waits for the end; one for each of the `n` samples."""
        return responses.answers(self)

    def answer(self) -> responses.Answer:
        """Waits for the end; the first sample."""
        return self.answers()[0]

    def cancel(self) -> None:
        """The server stops within a step. The parts end here. No effect at the end."""
        self._call.cancel()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        self.cancel()


class Client(ClientBase[Stream]):
    """Thread-safe."""

    _insecure_channel = staticmethod(grpc.insecure_channel)
    _secure_channel = staticmethod(grpc.secure_channel)
    _stream = Stream

    def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        """`add_special`: with what the model adds around a prompt. `parse_special`: "<|im_end|>" is one token."""
        request = requests.tokenize_request(self._model, text, add_special, parse_special)
        return list(self._unary(self._inference.Tokenize, request).token_ids)

    def detokenize(self, token_ids: Sequence[int]) -> str:
        request = requests.detokenize_request(self._model, token_ids)
        return str(self._unary(self._inference.Detokenize, request).text)

    def models(self) -> list[responses.Model]:
        return responses.models(self._unary(self._inference.ListModels, pb.ListModelsRequest()))

    def stats(self) -> responses.Stats:
        return responses.stats(self._unary(self._admin.GetStats, admin_pb2.GetStatsRequest()))

    def close(self) -> None:
        """Ends the connection, and every answer in flight."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _unary(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None
