"""What callers write, made into messages of quire.v1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict, Union, cast

from quire.v1 import inference_pb2 as pb


class SamplingParams(TypedDict, total=False):
    """Keyword arguments of generate and chat; meanings, ranges and defaults are those of quire.v1.SamplingParams."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    max_tokens: int
    min_tokens: int
    stop: Union[str, Sequence[str]]
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    n: int
    logit_bias: Mapping[int, float]
    logprobs: int
    prompt_logprobs: int


class Message(TypedDict):
    role: str  # "system", "user" or "assistant".
    content: str


# A conversation, or the user's one message.
Messages = Union[str, Sequence[Message]]
# Text, or token ids.
Prompt = Union[str, Sequence[int]]


def generate_request(model: str, prompt: Prompt, priority: int, params: SamplingParams) -> pb.GenerateRequest:
    request = pb.GenerateRequest(model=model, sampling_params=_sampling(params), priority=priority)
    if isinstance(prompt, str):
        request.text = prompt
    else:
        request.token_ids.ids.extend(prompt)
        request.token_ids.SetInParent()
    return request


def chat_request(model: str, messages: Messages, priority: int, params: SamplingParams) -> pb.ChatRequest:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    converted = [pb.ChatMessage(**message) for message in messages]
    return pb.ChatRequest(model=model, messages=converted, sampling_params=_sampling(params), priority=priority)


def tokenize_request(model: str, text: str, add_special: bool, parse_special: bool) -> pb.TokenizeRequest:
    return pb.TokenizeRequest(
        model=model, text=text, add_special_tokens=add_special, parse_special_tokens=parse_special
    )


def detokenize_request(model: str, token_ids: Sequence[int]) -> pb.DetokenizeRequest:
    return pb.DetokenizeRequest(model=model, token_ids=token_ids)


def _sampling(params: SamplingParams) -> pb.SamplingParams:
    unknown = set(params) - set(pb.SamplingParams.DESCRIPTOR.fields_by_name)
    if unknown:
        raise TypeError(f"unknown sampling parameters: {', '.join(sorted(unknown))}")
    fields = dict(params)
    if isinstance(params.get("stop"), str):
        fields["stop"] = [cast(str, params["stop"])]
    return pb.SamplingParams(**fields)  # type: ignore[arg-type]
