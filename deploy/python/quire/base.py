"""What the clients for threads and for asyncio have in common: all that waits for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar

import grpc

from quire import requests
from quire.v1 import admin_pb2_grpc, inference_pb2_grpc

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_TARGET = "127.0.0.1:50051"
# Answers are small; the prompt_logprobs of a long prompt are not.
CHANNEL_OPTIONS = [("grpc.max_receive_message_length", 256 << 20)]

StreamT = TypeVar("StreamT")


class ClientBase(Generic[StreamT]):
    """`model`: the name that requests give; empty for whichever is served. `timeout`: seconds that each call may take,
    unless it says otherwise. `api_key`: for a server with tenants. `credentials`: for TLS."""

    # Of the library for threads, or of that for asyncio.
    _insecure_channel: Callable[..., Any]
    _secure_channel: Callable[..., Any]
    _stream: Callable[[Any], StreamT]

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        model: str = "",
        timeout: Optional[float] = None,
        api_key: Optional[str] = None,
        credentials: Optional[grpc.ChannelCredentials] = None,
    ):
        self._model = model
        self._timeout = timeout
        self._metadata = None if api_key is None else (("authorization", f"Bearer {api_key}"),)
        if credentials is None:
            self._channel = type(self)._insecure_channel(target, options=CHANNEL_OPTIONS)
        else:
            self._channel = type(self)._secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        self._inference: Any = inference_pb2_grpc.InferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._admin: Any = admin_pb2_grpc.AdminServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def generate(
        self,
        prompt: requests.Prompt,
        *,
        priority: int = 0,
        timeout: Optional[float] = None,
        **params: Unpack[requests.SamplingParams],
    ) -> StreamT:
        """Continues a text, or token ids."""
        request = requests.generate_request(self._model, prompt, priority, params)
        return self._start(self._inference.Generate, request, timeout)

    def chat(
        self,
        messages: requests.Messages,
        *,
        priority: int = 0,
        timeout: Optional[float] = None,
        **params: Unpack[requests.SamplingParams],
    ) -> StreamT:
        """Continues a conversation with the assistant's turn."""
        request = requests.chat_request(self._model, messages, priority, params)
        return self._start(self._inference.Chat, request, timeout)

    def _start(self, method: Callable[..., Any], request: Any, timeout: Optional[float]) -> StreamT:
        stream: StreamT = type(self)._stream(method(request, timeout=self._pick(timeout), metadata=self._metadata))
        return stream

    def _pick(self, timeout: Optional[float]) -> Optional[float]:
        return self._timeout if timeout is None else timeout
