"""Drives a headless Chromium through its own protocol, over a pair of pipes.

    with Browser(width=1200, height=800) as page:
        page.open("http://127.0.0.1:8080/")
        page.await_true("document.title === 'Quire'")
"""

import base64
import json
import os
import select
import subprocess
import tempfile
import time

PATIENCE_S = 30
FLAGS = ("--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-component-update")


class Browser:
    """One page. `problems` collects what it complained of: exceptions, errors on the console, requests that failed."""

    def __init__(self, width, height, dark=False, phone=False):
        self.problems = []
        self.requested = []  # Every address that the page asked for.
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self._scheme = "dark" if dark else "light"
        self._buffer = b""
        self._next_id = 0
        self._session = None

    def __enter__(self):
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        def connect():  # The protocol's ends are descriptors 3 and 4.
            ends = [os.dup(to_browser), os.dup(from_browser)]
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        command = ["chromium", *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(command, close_fds=False, preexec_fn=connect, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", **self._size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": self._scheme}])
        return self

    def __exit__(self, *exception):
        self._session = None
        self.call("Browser.close")
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def call(self, method, **parameters):
        """A command of the protocol; its result."""
        self._next_id += 1
        message = {"id": self._next_id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._next_id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer.get("method"), answer.get("params", {}))

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.await_true("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def await_true(self, expression):
        """Evaluates until it is true; its value then."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                shown = self.evaluate("document.body.innerText")
                raise AssertionError(f"never true: {expression}; problems: {self.problems}; shown:\n{shown}")
            time.sleep(0.05)
        return value

    def type(self, text):
        self.call("Input.insertText", text=text)

    def press(self, key, code, shift=False, text=None):
        """A key of the keyboard: its name, and the code that Windows has for it."""
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **event, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _receive(self, deadline):
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise RuntimeError("the browser does not answer")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event, parameters):
        if event == "Runtime.exceptionThrown":
            self.problems.append(parameters["exceptionDetails"])
        elif event == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(parameters["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])
