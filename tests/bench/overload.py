#!/usr/bin/env python3
"""What the server does when asked for more than it can: `overload.py --binary QUIRE --model MODEL [--only PART,...]`.

Starts a server and prints a JSON object for each part:
  quiet     one tenant's time to first token alone, and while another sends as much as it can
  overload  ten times the load that keeps the server busy: answers a second, time to refuse, memory
  unread    clients that ask for streams and never read: memory for each, and another's time between tokens
  probe     whether a tenant can tell by the clock what another has asked for (area under the ROC curve; 0.5: it cannot)
"""

import argparse
import asyncio
import json
import pathlib
import random
import resource
import socket
import time

from served import add_arguments, served

PORT_GRPC, PORT_HTTP = 61171, 61190
WORDS = "river stone cloud tree house light sound paper glass water field road bridge tower garden window".split()


def resident_kib(pid):
    return int(pathlib.Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else None


def prompt(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


def request(text, max_tokens, tenant):
    body = json.dumps({"prompt": text, "max_tokens": max_tokens, "ignore_eos": True, "temperature": 0, "stream": True})
    return (f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Tenant: {tenant}\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}").encode()


async def complete(text, max_tokens, tenant):
    """Status, time to the first event or to the refusal, times between events, in seconds; and whether it ended."""
    begin = last = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT_HTTP)
    try:
        writer.write(request(text, max_tokens, tenant))
        status = int((await reader.readline()).split()[1])
        first, gaps, done = None, [], False
        async for line in reader:
            if status == 200 and not line.startswith(b"data: "):
                continue
            now = time.monotonic()
            if first is None:
                first = now - begin
            elif status == 200:
                gaps.append(now - last)
            last = now
            done = done or line.startswith(b"data: [DONE]")
        return status, first, gaps, done
    finally:
        writer.close()


async def sequence(rng, tenant, until, words=24, max_tokens=16, pause=0.05):
    """Times to first token of one request after the other."""
    times = []
    while time.monotonic() < until:
        status, first, _, _ = await complete(prompt(rng, words), max_tokens, tenant)
        if status == 200:
            times.append(first)
        await asyncio.sleep(pause)
    return times


async def flood(rng, tenant, until, words, max_tokens, results=None):
    """One client of many: a request after the other, and a pause after a refusal."""
    while time.monotonic() < until:
        begin = time.monotonic()
        status, first, _, done = await complete(prompt(rng, words), max_tokens, tenant)
        if results is not None:
            results.append((time.monotonic(), status, first, done, time.monotonic() - begin))
        if status != 200:
            await asyncio.sleep(0.5)


async def measure_quiet(pid, options):
    rng = random.Random(1)
    await sequence(rng, "quiet", time.monotonic() + 2)
    alone = await sequence(rng, "quiet", time.monotonic() + options.seconds)
    until = time.monotonic() + options.seconds + 3
    clients = [asyncio.create_task(flood(random.Random(i), "flood", until, options.flood_words, 100)) for i in range(options.flood)]
    await asyncio.sleep(3)
    beside = await sequence(rng, "quiet", until)
    await asyncio.gather(*clients)
    ms = lambda values, percent: round(1000 * percentile(values, percent)) if values else None
    return {"requests_alone": len(alone), "requests_beside_flood": len(beside), "flood_clients": options.flood,
            "ttft_alone_ms_p50": ms(alone, 50), "ttft_alone_ms_p99": ms(alone, 99),
            "ttft_beside_ms_p50": ms(beside, 50), "ttft_beside_ms_p99": ms(beside, 99)}


async def measure_overload(pid, options):
    async def load(clients, seconds):
        results, until = [], time.monotonic() + seconds
        begin = time.monotonic()
        await asyncio.gather(*(flood(random.Random(i), f"t{i % 4}", until, 30, 32, results) for i in range(clients)))
        good = [r for r in results if r[1] == 200 and r[3]]
        return len(good) / (time.monotonic() - begin), results
    peak, _ = await load(options.seats, options.seconds)
    before = resident_kib(pid)
    goodput, results = await load(10 * options.seats, options.seconds)
    after = resident_kib(pid)
    refusals = [r[4] for r in results if r[1] == 429]
    return {"peak_per_s": round(peak, 2), "goodput_per_s": round(goodput, 2), "share_of_peak": round(goodput / peak, 2),
            "refusals": len(refusals),
            "refusal_ms_p50": round(1000 * percentile(refusals, 50), 1) if refusals else None,
            "refusal_ms_p99": round(1000 * percentile(refusals, 99), 1) if refusals else None,
            "other_statuses": sorted({r[1] for r in results} - {200, 429}),
            "resident_mib_before": before // 1024, "resident_mib_after": after // 1024}


async def measure_unread(pid, options):
    rng = random.Random(2)
    async def gaps():
        streams = [await complete(prompt(rng, 24), 200, "reader") for _ in range(5)]
        return [gap for _, _, between, _ in streams for gap in between]
    await gaps()
    alone = await gaps()
    idle = resident_kib(pid)
    clients = []
    for i in range(options.unread):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", PORT_HTTP))
        client.sendall(request("Once", 2, f"u{i % 8}"))
        clients.append(client)
    await asyncio.sleep(options.seconds)
    memory = resident_kib(pid)
    beside = await gaps()
    for client in clients:
        client.close()
    return {"clients": options.unread, "kib_each": round((memory - idle) / options.unread, 1),
            "between_tokens_alone_ms_p99": round(1000 * percentile(alone, 99), 2),
            "between_tokens_beside_ms_p99": round(1000 * percentile(beside, 99), 2)}


async def measure_probe(pid, options):
    rng = random.Random(3)
    known, unknown = [], []
    for _ in range(options.probes):
        secret, other = prompt(rng, 60), prompt(rng, 60)
        await complete(secret, 1, "victim")
        pair = [(secret, known), (other, unknown)]
        rng.shuffle(pair)
        for text, times in pair:
            times.append((await complete(text, 1, "attacker"))[1])
    quicker = sum((k < u) + (k == u) / 2 for k in known for u in unknown)
    return {"tries": 2 * options.probes, "auc": round(quicker / (len(known) * len(unknown)), 3)}


PARTS = {"quiet": measure_quiet, "overload": measure_overload, "unread": measure_unread, "probe": measure_probe}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--seconds", type=float, default=20, help="for each measurement")
    parser.add_argument("--seats", type=int, default=16)
    parser.add_argument("--flood", type=int, default=32, help="clients of the flooding tenant")
    parser.add_argument("--flood-words", type=int, default=60, help="in each of its prompts")
    parser.add_argument("--batched-tokens", type=int, default=64, help="the server's --max-num-batched-tokens")
    parser.add_argument("--unread", type=int, default=1000)
    parser.add_argument("--probes", type=int, default=100)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    for part in options.only.split(","):
        waiting = options.unread + 100 if part == "unread" else 3 * options.seats
        flags = ["--tenant-header", "x-tenant", "--max-num-seqs", options.seats, "--max-num-batched-tokens",
                 options.batched_tokens, "--max-waiting-requests", waiting, "--max-model-len", 512,
                 "--kv-cache-memory", "256MiB"]
        with served(options, PORT_GRPC, PORT_HTTP, *flags) as server:
            print(json.dumps({part: asyncio.run(PARTS[part](server.pid, options))}), flush=True)


if __name__ == "__main__":
    main()
