"""What the server tells of itself, as those see it who read such things: promtool, Prometheus, its client library, and
the protos that gRPC's load balancers decode reports with."""

import asyncio
import json
import math
import pathlib
import re
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request

import grpc
from grpclib.client import Channel, UnaryStreamMethod
from prometheus_client.parser import text_string_to_metric_families
from xds.data.orca.v3 import orca_load_report_pb2

from prometheus import Prometheus, promtool
from quire_server import MODEL_NAME, QuireServer

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "proto"))
PB, RPC = grpc.protos_and_services("quire/v1/inference.proto")

# What promtool has against names that are vLLM's, and so must stay.
NAMES_OF_VLLM = re.compile(r'vllm:\S+ metric names should not contain \':\'$|'
                           r'vllm:iteration_tokens_total non-counter metrics should not have "_total" suffix$')
SERIES_TIMEOUT_S = 60


def render(server):
    with urllib.request.urlopen(server.http_url + "/metrics", timeout=10) as response:
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4"), response.headers
        return response.read().decode()


def request_for(max_tokens, model=""):
    sampling = PB.SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True)
    return PB.GenerateRequest(text="The capital of France is", sampling_params=sampling, model=model)


def generate(server, max_tokens=8, model=""):
    """The code that a call ended with."""
    with grpc.insecure_channel(server.grpc_target) as channel:
        call = RPC.InferenceServiceStub(channel).Generate(request_for(max_tokens, model), timeout=60)
        try:
            for _ in call:
                pass
        except grpc.RpcError:
            pass
        return call.code()


async def load_reports(server):
    """The reports of an answer, and of another that was asked for while the first had begun."""
    host, port = server.grpc_target.split(":")
    async with Channel(host, int(port)) as channel:
        method = UnaryStreamMethod(channel, "/quire.v1.InferenceService/Generate", PB.GenerateRequest,
                                   PB.GenerateResponse)

        async def report(stream):
            while await stream.recv_message() is not None:
                pass
            await stream.recv_trailing_metadata()
            return orca_load_report_pb2.OrcaLoadReport.FromString(
                stream.trailing_metadata["endpoint-load-metrics-bin"])

        async with method.open(timeout=60) as long, method.open(timeout=60) as short:
            await long.send_message(request_for(400), end=True)
            await long.recv_message()
            await short.send_message(request_for(2), end=True)
            beside = await report(short)
            return await report(long), beside


def complete(server, **fields):
    """The HTTP status that a completion ended with."""
    body = json.dumps({"prompt": "The capital of France is", "model": MODEL_NAME, "max_tokens": 4} | fields).encode()
    request = urllib.request.Request(server.http_url + "/v1/completions", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def samples(server, **labels):
    """Values by sample name, of those that have these labels; what differs by other labels is added up."""
    values = {}
    for family in text_string_to_metric_families(render(server)):
        for sample in family.samples:
            if labels.items() <= sample.labels.items():
                values[sample.name] = values.get(sample.name, 0) + sample.value
    return values


class Traffic:
    """Requests of all kinds, one after the other, until it is left."""

    def __init__(self, server):
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *exception):
        self._over.set()
        self._thread.join()

    def _run(self):
        while not self._over.is_set():
            generate(self._server)
            generate(self._server, model="gpt-17")
            complete(self._server)


def board_queries():
    """(panel, query) of the board, with its variables filled in."""
    board = json.loads((ROOT / "deploy/grafana/quire.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "20s").replace("$model_name", MODEL_NAME)
            assert "$" not in query, query
            yield panel["title"], query


class ObservabilityTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(QuireServer())

    def test_promtool_has_nothing_against_our_metrics(self):
        generate(self.server)
        checked = promtool("check", "metrics", stdin=render(self.server))
        complaints = [line for line in checked.stderr.splitlines() if not NAMES_OF_VLLM.search(line)]
        self.assertEqual(complaints, [])
        # It did check: vLLM's names are never to its liking.
        self.assertIn("vllm:num_requests_running", checked.stderr)

    def test_promtool_takes_the_configuration(self):
        checked = promtool("check", "config", str(ROOT / "deploy/prometheus.yml"))
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_counters_grow_by_what_was_asked_for(self):
        before = samples(self.server)
        for _ in range(3):
            self.assertEqual(generate(self.server, max_tokens=5), grpc.StatusCode.OK)
        self.assertEqual(generate(self.server, model="gpt-17"), grpc.StatusCode.NOT_FOUND)
        after = samples(self.server)
        grown = {name: after[name] - before[name] for name in after}
        self.assertEqual(grown["vllm:generation_tokens_total"], 15)
        self.assertEqual(grown["vllm:prompt_tokens_total"], 15)
        self.assertEqual(grown["vllm:request_success_total"], 3)
        self.assertEqual(grown["vllm:time_to_first_token_seconds_count"], 3)
        self.assertEqual(grown["vllm:inter_token_latency_seconds_count"], 12)
        self.assertEqual(grown["vllm:request_params_max_tokens_sum"], 15)
        self.assertEqual(grown["quire_requests_total"], 4)
        self.assertEqual(grown["quire_requests_refused_total"], 1)
        self.assertEqual(after["vllm:num_requests_running"], 0)

    def test_requests_over_http_count_as_such(self):
        before = samples(self.server, protocol="http")
        self.assertEqual(complete(self.server), 200)
        self.assertEqual(complete(self.server, model="gpt-17"), 404)
        self.assertEqual(complete(self.server, max_tokens="many"), 400)
        after = samples(self.server, protocol="http")
        self.assertEqual(after["quire_requests_total"] - before["quire_requests_total"], 3)

    def test_prometheus_shows_every_panel_of_the_board(self):
        with Prometheus(self.server.http_url.removeprefix("http://")) as prometheus, Traffic(self.server):
            missing = dict.fromkeys(board_queries())
            deadline = time.monotonic() + SERIES_TIMEOUT_S
            while missing and time.monotonic() < deadline:
                time.sleep(1)
                for panel, query in list(missing):
                    values = [value for _, value in prometheus.query(query)]
                    if values and all(math.isfinite(value) for value in values):
                        del missing[panel, query]
            self.assertEqual(list(missing), [], "show nothing")
            self.assertEqual(prometheus.query('up{job="quire"}')[0][1], 1)

    def test_balancers_can_read_the_load_report(self):
        alone, beside = asyncio.run(load_reports(self.server))
        for report in alone, beside:
            self.assertGreater(report.mem_utilization, 0)
            self.assertLessEqual(report.mem_utilization, 1)
            self.assertLessEqual(report.cpu_utilization, 1)
            self.assertEqual(set(report.named_metrics),
                             {"kv_cache_usage_perc", "num_requests_running", "num_requests_waiting"})
        self.assertGreater(beside.named_metrics["kv_cache_usage_perc"], 0)
        self.assertEqual(beside.named_metrics["num_requests_running"], 1)
        self.assertEqual(alone.named_metrics["num_requests_running"], 0)


if __name__ == "__main__":
    unittest.main()
