"""A server for the scripts beside this one."""

import contextlib
import socket
import subprocess
import time


@contextlib.contextmanager
def served(options, grpc_port, http_port, *flags):
    """The process of options.binary, which serves options.model and is ready; it is killed in the end."""
    server = subprocess.Popen([options.binary, "serve", options.model, "--port", str(grpc_port), "--http-port",
                               str(http_port), "--log-level", "error", *map(str, flags)])
    try:
        wait_until_ready(server, http_port)
        yield server
    finally:
        server.kill()
        server.wait()


def wait_until_ready(server, http_port):
    while True:
        try:
            return socket.create_connection(("127.0.0.1", http_port), timeout=1).close()
        except OSError:
            if server.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.1)


def add_arguments(parser):
    parser.add_argument("--binary", default="build/release/bin/quire")
    parser.add_argument("--model", default=".deps/models/SmolLM2-135M-Instruct.Q4_1.gguf")
