#!/usr/bin/env python3
"""Closed-loop load on a running server: each client sends its next request when the last one has been answered.

  load.py --protocol grpc --port 50051 --workload shared
  load.py --protocol openai --port 8080 --workload chat --clients 8 --requests 6

Prints one line of JSON: latencies in milliseconds as clients see them (TTFT: sent until the first token; TPOT: first
until last token, over the tokens between), new tokens a second over the whole run, failures, and how much of one
processor the clients took themselves. Generation is greedy and ignores end tokens. `openai` is /v1/completions with
streaming; `grpc` is quire.v1 and needs grpcio and grpcio-tools.
"""

import argparse
import dataclasses
import http.client
import json
import pathlib
import random
import sys
import threading
import time

from summary import percentile
from workloads import WORKLOADS

PROTO_FOLDER = pathlib.Path(__file__).resolve().parents[3] / "proto"


@dataclasses.dataclass
class Chunk:
    """A message of a stream. `tokens`: new in it, where the protocol says so; `total`: of the whole answer."""

    text: str = ""
    tokens: int = 0
    total: int | None = None
    is_output: bool = True


def sse_payloads(blocks):
    """The data of each server-sent event in a stream of bytes, however it is cut, up to [DONE]."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip()
                if data == b"[DONE]":
                    return
                yield json.loads(data)


def completion_chunk(payload):
    """A Chunk of one event of /v1/completions. The usage may come with the last text or on its own."""
    if "error" in payload:
        raise RuntimeError(f"server: {payload['error']}")
    choices = payload.get("choices") or []
    usage = payload.get("usage") or {}
    return Chunk(text="".join(choice.get("text") or "" for choice in choices), tokens=len(choices),
                 total=usage.get("completion_tokens"), is_output=bool(choices))


class OpenAiClient:
    """Streams /v1/completions; a connection for each request, as most clients of such servers do."""

    def __init__(self, port, model):
        self.port, self.model = port, model

    def stream(self, prompt, max_tokens):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
        body = {"model": self.model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "stream": True,
                "ignore_eos": True, "stream_options": {"include_usage": True}}
        try:
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise RuntimeError(f"HTTP {response.status}: {response.read(200)!r}")
            for payload in sse_payloads(iter(lambda: response.read1(65536), b"")):
                yield completion_chunk(payload)
        finally:
            connection.close()


class GrpcClient:
    """Streams quire.v1.InferenceService.Generate over one channel."""

    def __init__(self, port, model):
        import grpc  # Not in the standard library, and not needed for the other protocol.

        sys.path.insert(0, str(PROTO_FOLDER))
        self.messages, services = grpc.protos_and_services("quire/v1/inference.proto")
        self.stub = services.InferenceServiceStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
        self.model = model

    def stream(self, prompt, max_tokens):
        request = self.messages.GenerateRequest(model=self.model)
        if isinstance(prompt, str):
            request.text = prompt
        else:
            request.token_ids.ids.extend(prompt)
        request.sampling_params.temperature = 0
        request.sampling_params.max_tokens = max_tokens
        request.sampling_params.ignore_eos = True
        for message in self.stub.Generate(request):
            total = message.usage.completion_tokens if message.HasField("usage") else None
            yield Chunk(message.text, len(message.token_ids), total, is_output=bool(message.token_ids))


CLIENTS = {"grpc": GrpcClient, "openai": OpenAiClient}


class Results:
    """What all clients saw."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ttft_ms, self.tpot_ms, self.errors = [], [], []
        self.output_tokens = 0

    def add(self, sent, arrivals, tokens):
        with self.lock:
            self.output_tokens += tokens
            self.ttft_ms.append(1e3 * (arrivals[0] - sent))
            if tokens > 1:
                self.tpot_ms.append(1e3 * (arrivals[-1] - arrivals[0]) / (tokens - 1))

    def fail(self, error):
        with self.lock:
            self.errors.append(repr(error)[:300])


def ask(client, prompt, max_tokens, results):
    """Sends one request and returns its answer's text; a failure is counted and gives no text."""
    sent = time.perf_counter()
    arrivals, texts, tokens, total = [], [], 0, None
    try:
        for chunk in client.stream(prompt, max_tokens):
            if chunk.is_output:
                arrivals.append(time.perf_counter())
            texts.append(chunk.text)
            tokens += chunk.tokens
            total = chunk.total if chunk.total is not None else total
        if not arrivals:
            raise RuntimeError("no tokens came")
        results.add(sent, arrivals, tokens if total is None else total)
    except Exception as error:  # Whatever goes wrong in a client is a result of the measurement.
        results.fail(error)
        return ""
    return "".join(texts)


def converse(client, conversation, max_tokens, results):
    try:
        prompt = next(conversation)
        while True:
            prompt = conversation.send(ask(client, prompt, max_tokens, results))
    except StopIteration:
        pass


def run(options):
    client = CLIENTS[options.protocol](options.port, options.model)
    ask(client, "Once upon a time", 4, Results())  # The warm-up.
    results = Results()
    threads = []
    for number in range(options.clients):
        conversation = WORKLOADS[options.workload](options, random.Random(options.seed * 1000 + number),
                                                   random.Random(options.seed))
        threads.append(threading.Thread(target=converse, args=(client, conversation, options.output, results)))
    start, cpu_start = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "requests": len(results.ttft_ms), "errors": len(results.errors),
            "first_error": results.errors[0] if results.errors else None,
            "throughput": results.output_tokens / seconds,
            "ttft_p50": percentile(results.ttft_ms, 0.5), "ttft_p99": percentile(results.ttft_ms, 0.99),
            "tpot_p50": percentile(results.tpot_ms, 0.5),
            "client_cpu": 100 * (time.process_time() - cpu_start) / seconds}


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=CLIENTS, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="", help="its name in requests")
    parser.add_argument("--workload", choices=WORKLOADS, default="shared")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=4, help="of each client")
    parser.add_argument("--words", type=int, default=100, help="of each request's own")
    parser.add_argument("--prefix-words", type=int, default=800, help="shared by all (workload shared)")
    parser.add_argument("--tokens", type=int, default=2048, help="of a whole sequence (workload fill)")
    parser.add_argument("--output", type=int, default=64, help="new tokens of each request")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    print(json.dumps(run(parse())))
