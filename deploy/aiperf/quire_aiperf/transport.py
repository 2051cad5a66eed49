"""aiperf's requests over gRPC."""

import asyncio
import time
from urllib.parse import urlsplit

import grpc
import orjson
from aiperf.common.hooks import on_init, on_stop
from aiperf.common.models import ErrorDetails, RequestRecord, SSEMessage, TextResponse
from aiperf.plugin import plugins
from aiperf.plugin.schema.schemas import TransportMetadata
from aiperf.transports.base_transports import BaseTransport

from quire_aiperf import wire


def _target(url):
    """host:port; aiperf's URLs have a scheme, which here says nothing."""
    return urlsplit(url if "://" in url else f"grpc://{url}").netloc


class QuireGrpcTransport(BaseTransport):
    """One channel for each server that aiperf was given."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._services = {}

    @classmethod
    def metadata(cls):
        return TransportMetadata(transport_type="quire_grpc", url_schemes=["grpc"])

    @on_init
    async def _connect(self):
        for url in self.model_endpoint.endpoint.base_urls:
            target = _target(url)
            self._services[target] = wire.InferenceService(target)
            await self._services[target].open()

    @on_stop
    async def _disconnect(self):
        for service in self._services.values():
            await service.close()

    def get_url(self, request_info):
        return request_info.model_endpoint.endpoint.get_url(request_info.url_index)

    async def send_request(self, request_info, payload, *, first_token_callback=None):
        endpoint = self.model_endpoint.endpoint
        service = self._services[_target(self.get_url(request_info))]
        path = plugins.get_endpoint_metadata(endpoint.type).endpoint_path
        metadata = [("x-request-id", request_info.x_request_id)] if request_info.x_request_id else []
        request = orjson.loads(payload) if isinstance(payload, bytes) else payload
        record = RequestRecord(start_perf_ns=time.perf_counter_ns())
        call = service.start(path, request, timeout_s=endpoint.timeout, metadata=metadata)
        cancellation = self._cancel_later(call, request_info.cancel_after_ns)
        try:
            await self._receive(call, record, first_token_callback)
            if not endpoint.streaming:
                record.responses = [_joined(record.responses)]
        except grpc.aio.AioRpcError as error:
            record.error = ErrorDetails(type=error.code().name, message=error.details() or error.code().name)
        except asyncio.CancelledError:
            call.cancel()
            if asyncio.current_task().cancelling():
                raise
            # The call was cancelled, not this task: aiperf had asked for that.
            record.cancellation_perf_ns = time.perf_counter_ns()
            record.error = ErrorDetails(type="RequestCancellationError", code=499,
                                        message=f"cancelled after {request_info.cancel_after_ns} ns, as asked for")
        finally:
            record.end_perf_ns = time.perf_counter_ns()
            if cancellation is not None:
                cancellation.cancel()
        return record

    async def _receive(self, call, record, first_token_callback):
        async for response in call:
            now = time.perf_counter_ns()
            if record.recv_start_perf_ns is None:
                record.recv_start_perf_ns = now
            data = orjson.dumps(wire.response_dict(response)).decode()
            message = SSEMessage.parse(f"data: {data}", now)
            record.responses.append(message)
            if first_token_callback and await first_token_callback(now - record.start_perf_ns, message):
                first_token_callback = None
        record.status = 200

    @staticmethod
    def _cancel_later(call, after_ns):
        if after_ns is None:
            return None
        return asyncio.get_running_loop().call_later(after_ns / 1e9, call.cancel)


def _joined(messages):
    """The stream as the one answer that aiperf expects where it did not ask for a stream."""
    parts = [message.get_json() for message in messages]
    whole = {"text": "".join(part["text"] for part in parts)}
    if parts and "usage" in parts[-1]:
        whole["usage"] = parts[-1]["usage"]
    return TextResponse(perf_ns=messages[-1].perf_ns if messages else time.perf_counter_ns(),
                        content_type="application/json", text=orjson.dumps(whole).decode())
