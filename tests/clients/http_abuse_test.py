"""Clients that break the rules, over raw sockets: the server refuses them, frees what they held, and goes on."""

import json
import signal
import socket
import time
import unittest
import urllib.error
import urllib.request

from quire_server import QuireServer

PATIENCE_S = 30


def post(path, body, extra=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def long_request(max_tokens, stream=True):
    return post("/v1/completions", {"prompt": "Tell me a very long story.", "max_tokens": max_tokens,
                                    "ignore_eos": True, "stream": stream})


class HttpAbuseTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(QuireServer("--log-level", "debug"))

    def connect(self, receive_buffer=None):
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(("127.0.0.1", self.server.http_port))
        client.settimeout(PATIENCE_S)
        self.addCleanup(client.close)
        return client

    def status_of(self, request):
        client = self.connect()
        try:
            client.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # Refused before all of it was sent.
        return int(client.recv(4096).split(b" ", 2)[1])

    def assert_works(self):
        with urllib.request.urlopen(self.server.http_url + "/health", timeout=PATIENCE_S) as reply:
            self.assertEqual(reply.status, 200)

    def await_in_log(self, text, begin=0):
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.server.log()[begin:]:
            self.assertLess(time.monotonic(), deadline, f"{text!r} does not appear in the log")
            time.sleep(0.02)
        return self.server.log()[begin:]

    def test_bodies_that_are_no_requests(self):
        deep = b'{"messages":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
        wide = b'{"messages":[' + b"{}," * 4_000_000 + b"{}]}"
        keys = b"{" + b",".join(b'"%d":0' % i for i in range(300_000)) + b"}"
        for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"):
            for body in (b"", b"[]", b"null", b"{", b'{"messages": "\xff\xfe"}', b"\0" * 1000, deep, wide, keys):
                self.assertEqual(self.status_of(post(path, body)), 400, (path, body[:20]))
            self.assertEqual(self.status_of(post(path, b" " * (16 * 1024 * 1024 + 1))), 413)
        self.assert_works()

    def test_headers_that_never_end(self):
        client = self.connect()
        client.sendall(b"GET /health HTTP/1.1\r\n")
        answer = b""
        while not answer:  # A byte now and then does not keep it alive.
            try:
                client.sendall(b"X")
                client.settimeout(0.5)
                answer = client.recv(4096)
            except TimeoutError:
                pass
        self.assertIn(b" 408 ", answer)
        self.assert_works()

    def test_hanging_up_ends_a_stream_and_a_request_that_waits(self):
        for stream in (True, False):
            begin = len(self.server.log())
            client = self.connect()
            client.sendall(long_request(4000, stream))
            if stream:
                self.assertIn(b"text/event-stream", client.recv(4096))
            client.close()
            self.assertIn("CANCELLED", self.await_in_log("prompt tokens", begin))

    def test_many_that_do_not_read_stop_nobody(self):
        for _ in range(20):
            self.connect(receive_buffer=4096).sendall(long_request(400))
        with urllib.request.urlopen(urllib.request.Request(
                self.server.http_url + "/v1/completions", json.dumps({"prompt": "Hello", "max_tokens": 4}).encode()),
                timeout=PATIENCE_S) as reply:
            self.assertEqual(json.load(reply)["usage"]["completion_tokens"], 4)

    def test_a_drain_lets_streams_end_and_refuses_what_comes(self):
        with QuireServer() as server:
            stream = socket.create_connection(("127.0.0.1", server.http_port), PATIENCE_S)
            self.addCleanup(stream.close)
            stream.sendall(long_request(300))
            received = stream.recv(4096)
            self.assertIn(b"200 OK", received)
            server.process.send_signal(signal.SIGTERM)
            while True:  # The signal is handled by another thread of the server.
                try:
                    urllib.request.urlopen(server.http_url + "/health", timeout=PATIENCE_S).close()
                except urllib.error.HTTPError as error:
                    self.assertEqual(error.code, 503)
                    break
            while piece := stream.recv(65536):
                received += piece
            self.assertIn(b"data: [DONE]", received)
            self.assertEqual(server.process.wait(PATIENCE_S), 0)


if __name__ == "__main__":
    unittest.main()
