"""What the server says, as plain immutable values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from quire.v1 import admin_pb2
from quire.v1 import inference_pb2 as pb

_FINISH_REASONS = {pb.FINISH_REASON_STOP: "stop", pb.FINISH_REASON_LENGTH: "length"}


@dataclass(frozen=True)
class TokenLogprob:
    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()  # The likeliest alternatives: token ids and log-probabilities.


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    cached_tokens: int  # Prompt tokens that were not computed for this request.
    completion_tokens: int
    # Of the cached ones, those that were fetched for this request from the host's memory and from a file.
    cached_tokens_host: int = 0
    cached_tokens_disk: int = 0


@dataclass(frozen=True)
class Timings:
    """Seconds."""

    queue: float
    prefill: float
    decode: float


@dataclass(frozen=True)
class Part:
    """What became of one sample since the last part."""

    index: int
    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: Optional[str] = None  # "stop" or "length", in a sample's last part.
    usage: Optional[Usage] = None  # In the last part of all, for all samples together.
    timings: Optional[Timings] = None  # As usage.


@dataclass(frozen=True)
class Answer:
    """One whole sample. Usage and timings are for all samples of the request together."""

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...]
    prompt_logprobs: tuple[TokenLogprob, ...]
    finish_reason: Optional[str]
    usage: Optional[Usage]
    timings: Optional[Timings]


@dataclass(frozen=True)
class Model:
    name: str
    architecture: str
    max_model_len: int
    vocab_size: int
    parameters: int


@dataclass(frozen=True)
class Stats:
    """A snapshot between two steps. kv_pages_total = free + used + cached."""

    requests_running: int
    requests_waiting: int
    kv_pages_total: int
    kv_pages_used: int
    kv_pages_cached: int
    kv_pages_free: int
    kv_pages_shared: int  # Of the used ones, those held more than once.
    prompt_tokens_total: int
    cached_tokens_total: int
    completion_tokens_total: int
    preemptions_total: int


def part(response: pb.GenerateResponse) -> Part:
    usage, timings = None, None
    if response.HasField("usage"):
        usage = Usage(**{field: getattr(response.usage, field) for field in Usage.__dataclass_fields__})
    if response.HasField("timings"):
        spans = (response.timings.queue, response.timings.prefill, response.timings.decode)
        timings = Timings(*(span.ToTimedelta().total_seconds() for span in spans))
    return Part(
        index=response.index,
        text=response.text,
        token_ids=tuple(response.token_ids),
        logprobs=_logprobs(response.logprobs),
        prompt_logprobs=_logprobs(response.prompt_logprobs),
        finish_reason=_FINISH_REASONS.get(response.finish_reason),
        usage=usage,
        timings=timings,
    )


def answers(parts: Iterable[Part]) -> list[Answer]:
    """The samples that `parts` make up, by index."""
    parts = list(parts)
    usage = parts[-1].usage if parts else None
    timings = parts[-1].timings if parts else None
    made = []
    for index in sorted({p.index for p in parts}):
        own = [p for p in parts if p.index == index]
        made.append(
            Answer(
                text="".join(p.text for p in own),
                token_ids=tuple(token for p in own for token in p.token_ids),
                logprobs=tuple(logprob for p in own for logprob in p.logprobs),
                prompt_logprobs=tuple(logprob for p in own for logprob in p.prompt_logprobs),
                finish_reason=own[-1].finish_reason,
                usage=usage,
                timings=timings,
            )
        )
    return made


def models(response: pb.ListModelsResponse) -> list[Model]:
    return [Model(m.name, m.architecture, m.max_model_len, m.vocab_size, m.parameters) for m in response.models]


def stats(response: admin_pb2.Stats) -> Stats:
    return Stats(**{field: getattr(response, field) for field in Stats.__dataclass_fields__})


def _logprobs(protos: Iterable[pb.TokenLogprob]) -> tuple[TokenLogprob, ...]:
    return tuple(TokenLogprob(p.token_id, p.logprob, tuple((t.token_id, t.logprob) for t in p.top)) for p in protos)
