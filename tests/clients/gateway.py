"""Starts the Shepherd Model Gateway (PyPI smg) in front of servers."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from quire_server import MODEL_NAME, free_port

READY_TIMEOUT_S = 60


class Gateway:
    """An `smg` in front of `servers`, ready once entered: it knows the workers and has a tokenizer from one of them."""

    def __init__(self, *servers, flags=()):
        self.url = f"http://127.0.0.1:{free_port()}"
        self._metrics_url = f"http://127.0.0.1:{free_port()}/metrics"
        self._num_workers = len(servers)
        workers = [f"grpc://{server.grpc_target}" for server in servers]
        self._command = [
            os.path.join(os.path.dirname(sys.executable), "smg"), "launch", "--host", "127.0.0.1",
            "--port", self.url.rpartition(":")[2], "--prometheus-port", re.search(r":(\d+)/", self._metrics_url)[1],
            "--policy", "cache_aware", "--worker-urls", *workers, *flags,
        ]
        self._log = tempfile.TemporaryFile(mode="w+")
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        try:
            self.wait_for(self._ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def wait_for(self, condition):
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the gateway did not get there:\n{self.log()}")
            time.sleep(0.05)

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=20) as response:
            return json.load(response)

    def post(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def metric(self, name, **labels):
        """Sum over the series of this name that have these labels."""
        with urllib.request.urlopen(self._metrics_url, timeout=20) as response:
            lines = response.read().decode().splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(line.rpartition(" ")[2]) for line in lines
                   if re.match(re.escape(name) + r"[{ ]", line) and all(label in line for label in wanted))

    def _ready(self):
        try:
            workers = self.get("/workers")["workers"]
            if sum(worker["status"] == "ready" for worker in workers) < self._num_workers:
                return False
            self.post("/v1/tokenize", {"model": MODEL_NAME, "prompt": "ready"})
            return True
        except (urllib.error.URLError, ConnectionError):
            return False
