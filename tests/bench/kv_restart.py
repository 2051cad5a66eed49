#!/usr/bin/env python3
"""What a file of KV pages is worth, and whether kill -9 can make it lie: `kv_restart.py --binary QUIRE --model MODEL`.

Kills a server with --kv-disk-path in the middle of traffic --kills times, each time starting another on the same file.
Every completion that any of them finishes, and that of a last one for every prompt, must be the text that a server
without tiers gives. Then a conversation of --tokens tokens is computed, the server is killed, and the time to the first
token of the next server is compared with that of one which has to compute it again.
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time



def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


PORT_GRPC, PORT_HTTP = free_port(), free_port()
WORDS = "harbour ship storm captain island chart anchor sail rope tide compass crew cargo lantern gull wave".split()


class Server:
    """A server that is ready. Killed at the end unless it was stopped before."""

    def __init__(self, options, *flags):
        command = [options.binary, "serve", options.model, "--port", str(PORT_GRPC), "--http-port", str(PORT_HTTP),
                   "--log-level", "warning", *flags]
        self.process = subprocess.Popen(command)
        while True:
            if self.process.poll() is not None:
                sys.exit(f"the server ended with {self.process.returncode}")
            try:
                if get("/health")[0] == 200:
                    return
            except OSError:
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGKILL)

    def end(self, number):
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        self.process.wait()


def get(path):
    connection = http.client.HTTPConnection("127.0.0.1", PORT_HTTP, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def complete(prompt, max_tokens):
    """(text, seconds to the first token), or None if the server went away."""
    body = json.dumps({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "stream": True})
    text, first, begin = "", None, time.monotonic()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", PORT_HTTP, timeout=120)
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        for line in answer:
            if line.strip() == b"data: [DONE]":
                return text, first
            if line.startswith(b"data: "):
                first = first or time.monotonic() - begin
                for choice in json.loads(line[6:])["choices"]:
                    text += choice["text"]
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        pass
    return None


def make_prompt(seed, words):
    chance = random.Random(seed)
    return " ".join(chance.choice(WORDS) for _ in range(words))


def tier_flags(path):
    return ["--kv-disk-path", str(path), "--kv-disk-size", "1GiB"]


def kill_often(options, path):
    # Families of prompts that go on from each other, as conversations do.
    prompts = [make_prompt(i, 200) + "".join(" " + make_prompt(100 * i + j + 1, 40) for j in range(k))
               for i in range(4) for k in range(3)]
    with Server(options):
        expected = [complete(prompt, 24)[0] for prompt in prompts]
    chance = random.Random(options.seed)
    finished = wrong = 0
    for _ in range(options.kills):
        with Server(options, *tier_flags(path)) as server:
            results = []

            def client(some):
                for i in some:
                    if (result := complete(prompts[i], 24)) is not None:
                        results.append((i, result[0]))

            order = list(range(len(prompts)))
            chance.shuffle(order)
            clients = [threading.Thread(target=client, args=(order[c::3],)) for c in range(3)]
            for thread in clients:
                thread.start()
            time.sleep(chance.uniform(0.05, 3))
            server.end(signal.SIGKILL)
            for thread in clients:
                thread.join()
        finished += len(results)
        wrong += sum(text != expected[i] for i, text in results)
    with Server(options, *tier_flags(path)):
        wrong += sum(complete(prompt, 24)[0] != text for prompt, text in zip(prompts, expected))
        tier = json.loads(get("/quire/stats")[1])["kv_disk"]
    print(f"{options.kills} kills, {finished} completions between them, {len(prompts)} after; {wrong} wrong texts; "
          f"the last server read {tier['pages_read_total']} pages and refused {tier['pages_refused_total']}")
    return wrong


def resume(options, path):
    cold, warm = [], []
    for turn in range(options.turns):
        prompt = [1 + hash((turn, i)) % 40000 for i in range(options.tokens)]
        with Server(options, *tier_flags(path)):
            text, seconds = complete(prompt, 16)
            cold.append(seconds)
            time.sleep(0.5)
        with Server(options, *tier_flags(path)):
            complete(make_prompt(0, 20), 4)
            again, seconds = complete(prompt, 16)
            warm.append(seconds)
        if again != text:
            sys.exit("the resumed conversation went on otherwise")
    computed, fetched = statistics.median(cold), statistics.median(warm)
    print(f"{options.tokens} tokens: first token after {computed * 1000:.0f} ms computed, {fetched * 1000:.0f} ms "
          f"resumed after kill -9: 1/{computed / fetched:.1f} (medians of {options.turns})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong = kill_often(options, pathlib.Path(folder) / "traffic.pages") if options.kills else 0
        resume(options, pathlib.Path(folder) / "resume.pages")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
