#!/usr/bin/env python3
"""What constraints on the output cost: `structured.py --binary QUIRE --model MODEL`.

Starts a server and lets so many clients at a time generate, without a constraint and with each kind in turn, round after
round. Prints tokens a second of each (medians over the rounds), and how much slower than without that is, in percent. Time
counts from the first token on, when a grammar has been compiled and all prompts are computed.
"""

import argparse
import asyncio
import json
import statistics
import time

from served import add_arguments, served

PORT_GRPC, PORT_HTTP = 61271, 61290
PERSON = {"type": "object", "additionalProperties": False, "required": ["name", "age", "tags", "address"], "properties": {
    "name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
    "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3},
    "address": {"type": "object", "additionalProperties": False, "required": ["street", "city"],
                "properties": {"street": {"type": "string"}, "city": {"enum": ["Paris", "Rome", "Oslo"]}}}}}
# Each goes on for as long as it is let.
KINDS = {
    "none": {},
    "json_schema": {"structured_outputs": {"json": {"type": "array", "items": PERSON, "minItems": 500}}},
    "regex": {"structured_outputs": {"regex": "([a-z]+ ([0-9]{1,3}|[A-Z][a-z]*), )*"}},
    "grammar": {"structured_outputs": {"grammar": 'root ::= (term " + ")* term\nterm ::= [0-9]+ | "(" root ")"'}},
}


async def generate(index, kind, options):
    """Times at which tokens came."""
    body = json.dumps({"prompt": f"{index} people who live in the town, one after the other: ", "ignore_eos": True,
                       "max_tokens": options.tokens, "min_tokens": options.tokens, "temperature": 0.8, "seed": index,
                       "stream": True} | KINDS[kind])
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT_HTTP)
    writer.write(f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
                 f"{body}".encode())
    status = await reader.readline()
    assert b"200" in status, status + await reader.read()
    times = [time.monotonic() async for line in reader if line.startswith(b"data: {")]
    writer.close()
    return times


async def rate(kind, options):
    """Tokens a second while all clients generate: from the last one's first token to the first one's last."""
    streams = await asyncio.gather(*(generate(index, kind, options) for index in range(options.clients)))
    begin, end = max(times[0] for times in streams), min(times[-1] for times in streams)
    return sum(begin < when <= end for times in streams for when in times) / (end - begin)


async def measure(options):
    rates = {kind: [] for kind in KINDS}
    for turn in range(options.rounds + 1):
        for kind in KINDS:
            measured = await rate(kind, options)
            if turn > 0:  # The first warms up.
                rates[kind].append(measured)
    medians = {kind: statistics.median(measured) for kind, measured in rates.items()}
    for kind, median in medians.items():
        slower = statistics.median(1 - mine / free for mine, free in zip(rates[kind], rates["none"]))
        print(json.dumps({"kind": kind, "tokens_per_s": round(median), "slower_percent": round(100 * slower, 1)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=100, help="of each client's answer")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with served(options, PORT_GRPC, PORT_HTTP, "--max-num-seqs", options.clients, "--max-model-len", 512,
                "--kv-cache-memory", "256MiB"):
        asyncio.run(measure(options))


if __name__ == "__main__":
    main()
