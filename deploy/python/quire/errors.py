"""What a call is refused or ended with."""

from __future__ import annotations

from typing import Any, Optional, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

_DETAILS_KEY = "grpc-status-details-bin"


class Error(Exception):
    """`code` is gRPC's; the others are None where the server did not say.

    field: what is wrong in the request, as "sampling_params.top_p".
    retry_delay: seconds after which trying again makes sense.
    reason: a constant that programs can tell cases of one code apart by, as "MODEL_NOT_FOUND".
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        field: Optional[str] = None,
        retry_delay: Optional[float] = None,
        reason: Optional[str] = None,
    ):
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retry_delay = retry_delay
        self.reason = reason


class InvalidArgument(Error, ValueError):
    """The request can never succeed as it is; see `field`."""


class NotFound(Error):
    """The model is not served here."""


class ResourceExhausted(Error):
    """The server has too much to do; see `retry_delay`."""


class Unavailable(Error):
    """Nobody answers at the target, or the server is shutting down."""


class DeadlineExceeded(Error, TimeoutError):
    """The call's timeout passed first."""


_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


def from_rpc_error(error: grpc.RpcError) -> Error:
    """The same as an Error, its google.rpc details taken apart."""
    call = cast(Any, error)  # Whatever fails a call also has its status, which the base class does not say.
    made = _BY_CODE.get(call.code(), Error)(call.code(), call.details() or "")
    for detail in _details(call.trailing_metadata()):
        _apply(detail, made)
    return made


def _details(trailing_metadata: Any) -> list[Any]:
    for key, value in trailing_metadata or ():
        if key == _DETAILS_KEY:
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:
                return []  # Of some proxy, not of ours.
    return []


def _apply(detail: Any, error: Error) -> None:
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    info = error_details_pb2.ErrorInfo()
    if detail.Unpack(bad_request) and bad_request.field_violations:
        error.field = bad_request.field_violations[0].field
    elif detail.Unpack(retry):
        error.retry_delay = retry.retry_delay.ToTimedelta().total_seconds()
    elif detail.Unpack(info):
        error.reason = info.reason
