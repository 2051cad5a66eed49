#!/usr/bin/env python3
"""What many open server-sent-event streams cost: `open_streams.py --binary QUIRE --model MODEL --streams 2000`.

Starts a server, opens the streams, watches them for a while, and prints memory for each stream, each thread's share of a
processor, and how long a new client then waits for /health. With as many seats as streams all of them receive tokens, and
memory is mostly their KV pages; with few (--seats 1), nearly all wait, and memory is what an open stream itself costs.
"""

import argparse
import asyncio
import json
import os
import pathlib
import resource
import time

from served import add_arguments, served

PORT_GRPC, PORT_HTTP = 61051, 61080


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def cpu_seconds(pid):
    """Of each thread, by its id."""
    seconds = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        seconds[int(task.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


async def open_stream(max_tokens, begun):
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT_HTTP)
    body = json.dumps({"prompt": "Once", "max_tokens": max_tokens, "ignore_eos": True, "stream": True}).encode()
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    begun.append((await reader.readline()).strip())
    while await reader.read(65536):
        pass
    writer.close()


async def health_seconds():
    begin = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT_HTTP)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await reader.read()
    writer.close()
    return time.monotonic() - begin


async def measure(pid, options):
    idle = resident_kib(pid)
    begun = []
    streams = [asyncio.create_task(open_stream(options.max_tokens, begun)) for _ in range(options.streams)]
    while len(begun) < min(options.streams, options.seats):
        await asyncio.sleep(0.2)
    assert set(begun) == {b"HTTP/1.1 200 OK"}, set(begun)
    before, start = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(options.seconds)
    after, elapsed = cpu_seconds(pid), time.monotonic() - start
    latencies = [await health_seconds() for _ in range(20)]
    shares = {task: (after[task] - before.get(task, 0)) / elapsed for task in after}
    print(json.dumps({
        "streams": options.streams,
        "seats": options.seats,
        "kib_each_in_all": (resident_kib(pid) - idle) / options.streams,
        "processor_share_by_thread": {task: round(share, 3) for task, share in shares.items() if share > 0.001},
        "health_ms_median": 1000 * sorted(latencies)[len(latencies) // 2],
    }, indent=1))
    for stream in streams:
        stream.cancel()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seats", type=int, default=2000)
    parser.add_argument("--max-tokens", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * options.streams), hard))
    flags = ["--max-num-seqs", options.seats, "--max-num-batched-tokens", max(64, options.seats), "--max-waiting-requests",
             options.streams + 8, "--max-model-len", 256, "--block-size", 16, "--kv-cache-memory",
             f"{(options.seats + 8) * 64 * 24}KiB"]
    with served(options, PORT_GRPC, PORT_HTTP, *flags) as server:
        asyncio.run(measure(server.pid, options))


if __name__ == "__main__":
    main()
