"""The sections of the comparison. Each is a function (options, system, round) that yields Measurements, or nothing
where the system has no such thing."""

import json
import socket
import sys
import time
import urllib.error
import urllib.request

import processes
from processes import Failed
from summary import Measurement
from systems import HERE, Group

READY_POLL_SECONDS = 0.02
SERVER_PATIENCE_SECONDS = 600
# A client's greeting in HTTP/2, with empty settings; a gRPC server that accepts calls answers with its own settings.
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
HTTP2_SETTINGS = 4


def _rates(section, system, round_number, points):
    for point in points:
        params = {"batch": point["batch"], "input": point["input"]}
        for metric in ("decode", "prefill"):
            if metric in point:
                yield Measurement(section, metric, system.name, round_number, point[metric], params)


def _throughput(section, options, system, round_number, groups):
    for group, points in zip(groups, system.throughput(groups, options.seed + round_number) or ()):
        if group.output < 8:  # Such a run is there for its prefill.
            points = [{key: value for key, value in point.items() if key != "decode"} for point in points]
        yield from _rates(section, system, round_number, points)


def offline(options, system, round_number):
    """Decode and prefill without a network: decode is (a whole run - a prefill run) over the new tokens."""
    groups = [Group(options.batches, [options.input], options.output_tokens),
              Group([1], [options.long_prefill], output=2)]
    return _throughput("offline", options, system, round_number, groups)


def long_groups(options):
    """Groups of the lengths that each batch size may have within --max-prompt-tokens, and the points left out."""
    groups, left_out = [], []
    for batch in options.long_batches:
        lengths = sorted({*options.contexts, *(options.prefill_lengths if batch == 1 else ())})
        fit = [length for length in lengths if batch * length <= options.max_prompt_tokens]
        left_out += [f"{batch} x {length}" for length in lengths if length not in fit]
        if fit:
            groups.append(Group([batch], fit, options.output_tokens, steady=True))
    return groups, left_out


def longer(options, system, round_number):
    """Decode behind long contexts, over steps in which all sequences generate, and prefill of long prompts."""
    return _throughput("long", options, system, round_number, long_groups(options)[0])


def _answers_http2(port):
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(HTTP2_GREETING)
        return connection.recv(9)[3:4] == bytes([HTTP2_SETTINGS])


def _answers_health(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as response:
        return response.status == 200


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class RunningServer:
    """A server of a system from its start until the end of the with block. `ready_seconds`: start until it answers."""

    def __init__(self, options, system, slots, context):
        self.options, self.log, self.port = options, system.log, _free_port()
        self.server = system.server(self.port, slots, context)

    def __enter__(self):
        start = time.perf_counter()
        self.process = processes.start([str(part) for part in self.server.command], self.log, self.server.env)
        answers = _answers_http2 if self.server.protocol == "grpc" else _answers_health
        try:
            while True:
                if self.process.poll() is not None:
                    raise Failed(f"the server ended with {self.process.returncode}; see {self.log}")
                if time.perf_counter() - start > SERVER_PATIENCE_SECONDS:
                    raise Failed(f"the server is not ready after {SERVER_PATIENCE_SECONDS} s; see {self.log}")
                try:
                    if answers(self.port):
                        break
                except (OSError, urllib.error.URLError):
                    pass
                time.sleep(READY_POLL_SECONDS)
        except BaseException:
            processes.end(self.process)
            raise
        self.ready_seconds = time.perf_counter() - start
        return self

    def __exit__(self, *_):
        processes.end(self.process)

    def load(self, **arguments):
        """What load.py measured against this server; with peak_rss, the server's peak of resident memory."""
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
        processes.reset_peaks(self.process.pid)
        result = json.loads(processes.run(
            [str(self.options.python), str(HERE / "load.py"), "--protocol", self.server.protocol, "--port",
             str(self.port), "--model", self.server.model_name, *flags],
            self.log, self.options.timeout))
        result["peak_rss"] = processes.peak_resident_mib(self.process.pid)
        if result["errors"]:
            print(f"  {result['errors']} requests failed, the first: {result['first_error']}", file=sys.stderr)
        return result


def _start_values(options, system, round_number, server):
    yield Measurement("start", "ready", system.name, round_number, server.ready_seconds)
    time.sleep(1)  # What it does behind its first answer is not idleness.
    idle = processes.cpu_percent(server.process.pid, options.idle_seconds)
    yield Measurement("start", "idle_cpu", system.name, round_number, idle)


def _serves(options, system):
    return system.server(0, 1, options.server_context) is not None


WIRE_METRICS = ("throughput", "ttft_p50", "ttft_p99", "tpot_p50", "errors", "peak_rss", "client_cpu")


def wire(options, system, round_number):
    """Clients that share a long prefix, and chats whose history grows, against a server just started."""
    if not _serves(options, system):
        return
    seed = options.seed + round_number
    loads = {
        "shared": {"clients": options.clients, "requests": options.requests, "prefix_words": options.prefix_words,
                   "words": options.words},
        "chat": {"clients": options.chats, "requests": options.turns, "words": options.words},
    }
    with RunningServer(options, system, max(options.clients, options.chats), options.server_context) as server:
        if "start" in options.only:  # Some servers take minutes to start: once is enough.
            yield from _start_values(options, system, round_number, server)
        for workload, arguments in loads.items():
            result = server.load(workload=workload, output=options.answer, seed=seed, **arguments)
            for metric in WIRE_METRICS:
                if result[metric] is not None:
                    params = {"workload": workload, "clients": arguments["clients"]}
                    yield Measurement("wire", metric, system.name, round_number, result[metric], params)


def memory(options, system, round_number):
    """Peak resident memory of a server that has filled its room for many long sequences."""
    if not _serves(options, system) or round_number > 0:  # It does not vary, and takes long.
        return
    count, tokens = options.memory_sequences, options.memory_tokens
    with RunningServer(options, system, count, tokens) as server:
        result = server.load(workload="fill", clients=count, requests=1, tokens=tokens, output=8, seed=options.seed)
    params = {"sequences": count, "tokens": tokens}
    for metric in ("peak_rss", "errors"):
        yield Measurement("memory", metric, system.name, round_number, result[metric], params)


def start(options, system, round_number):
    """Seconds from the start of a server until it answers, and what it uses before anybody asks."""
    if not _serves(options, system) or "wire" in options.only:  # Which starts the same server and measures this.
        return
    with RunningServer(options, system, options.clients, options.server_context) as server:
        yield from _start_values(options, system, round_number, server)


def cache(options, system, round_number):
    """One generation with the KV cache and without it."""
    result = system.cached_generation(16, options.generate, options.seed + round_number)
    if result is None:
        return
    params = {"tokens": options.generate}
    yield Measurement("cache", "cached", system.name, round_number, result["cached_s"], params)
    yield Measurement("cache", "recomputed", system.name, round_number, result["recomputed_s"], params)
    ratio = result["recomputed_s"] / result["cached_s"]
    yield Measurement("cache", "cache_ratio", system.name, round_number, ratio, params)


# By the name that --only takes; the title heads its table.
SECTIONS = {
    "offline": ("Offline", offline),
    "long": ("Longer work", longer),
    "wire": ("Over the wire", wire),
    "memory": ("Memory", memory),
    "start": ("Start and idleness", start),
    "cache": ("KV cache", cache),
}
