"""quire.v1 as dictionaries: what OpenAI's requests become, and calls to the server. Knows nothing of aiperf."""

import asyncio

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "quire.v1.InferenceService"
SAMPLING_PARAMS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty",
                   "frequency_penalty", "seed", "max_tokens", "min_tokens", "stop_token_ids", "ignore_eos", "n",
                   "logit_bias")


def generate_request(payload):
    """A GenerateRequest of what would be sent to OpenAI's /v1/completions."""
    prompt = payload["prompt"]
    if not isinstance(prompt, str):
        raise ValueError("quire_generate takes one text as its prompt")
    return {"model": payload.get("model", ""), "text": prompt, "sampling_params": _sampling_params(payload)}


def chat_request(payload):
    """A ChatRequest of what would be sent to OpenAI's /v1/chat/completions."""
    messages = [{"role": message["role"], "content": _text(message.get("content"))} for message in payload["messages"]]
    return {"model": payload.get("model", ""), "messages": messages, "sampling_params": _sampling_params(payload)}


def _sampling_params(payload):
    params = {name: payload[name] for name in SAMPLING_PARAMS if payload.get(name) is not None}
    if payload.get("max_completion_tokens") is not None:
        params["max_tokens"] = payload["max_completion_tokens"]
    if stop := payload.get("stop"):
        params["stop"] = [stop] if isinstance(stop, str) else stop
    return params


def _text(content):
    """Of a message's content: a string, or parts that are all text."""
    if content is None or isinstance(content, str):
        return content or ""
    if any(part.get("type") != "text" for part in content):
        raise ValueError("a Quire server reads text alone, no images and no sound")
    return "".join(part["text"] for part in content)


class InferenceService:
    """One server. Its messages are asked of it by reflection, so that no generated code has to match it."""

    def __init__(self, target):
        self._target = target
        self._channel = None
        self._messages = {}

    async def open(self):
        self._messages = await asyncio.to_thread(self._reflect)
        self._channel = grpc.aio.insecure_channel(self._target)

    async def close(self):
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def start(self, path, request, timeout_s=None, metadata=()):
        """Starts the streaming method at `path`; the call, over whose messages one iterates. ValueError for a request
        that is not of the method's type."""
        request_type, response_type = self._messages[path]
        try:
            message = json_format.ParseDict(request, request_type())
        except json_format.ParseError as error:
            raise ValueError(str(error)) from error
        method = self._channel.unary_stream(path, request_serializer=request_type.SerializeToString,
                                            response_deserializer=response_type.FromString)
        return method(message, timeout=timeout_s, metadata=metadata)

    def _reflect(self):
        with grpc.insecure_channel(self._target) as channel:
            pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            service = pool.FindServiceByName(SERVICE)
            return {f"/{SERVICE}/{method.name}": (message_factory.GetMessageClass(method.input_type),
                                                  message_factory.GetMessageClass(method.output_type))
                    for method in service.methods}


def response_dict(response):
    """The parts of a GenerateResponse that a load generator reads."""
    out = {"text": response.text}
    if response.HasField("usage"):
        usage = response.usage
        out["usage"] = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens,
                        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
                        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens}}
    return out
