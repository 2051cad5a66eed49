"""Starts the real server for a client's tests.

    with QuireServer("--max-num-seqs", "4") as server:
        client = openai.OpenAI(base_url=server.http_url + "/v1", api_key="none")
"""

import os
import signal
import socket
import subprocess
import tempfile
import time

BINARY = os.environ.get("QUIRE_BINARY", "build/release/bin/quire")
MODEL = os.environ.get("QUIRE_TEST_MODEL", ".deps/models/SmolLM2-135M-Instruct.Q4_1.gguf")
MODEL_NAME = os.path.basename(MODEL).removesuffix(".gguf")
START_TIMEOUT_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class QuireServer:
    """A `quire serve` in a child process, ready once entered and gone once left."""

    def __init__(self, *flags):
        self.grpc_port = free_port()
        self.http_port = free_port()
        self.grpc_target = f"127.0.0.1:{self.grpc_port}"
        self.http_url = f"http://127.0.0.1:{self.http_port}"
        self._command = [BINARY, "serve", MODEL, "--port", str(self.grpc_port), "--http-port", str(self.http_port), *flags]
        self._log = tempfile.TemporaryFile(mode="w+")
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self._command, stderr=self._log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._accepts():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{' '.join(self._command)} did not get ready:\n{self.log()}")
            time.sleep(0.05)
        return self

    def __exit__(self, *exception):
        self.stop()

    def stop(self, how=signal.SIGTERM, timeout_s=60):
        """Ends the server; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def _accepts(self):
        # The HTTP port opens last.
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.http_port)) == 0
