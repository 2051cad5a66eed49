"""Runs Debian's Prometheus (tests/clients/install.sh fetches it) on the repository's own configuration.

    with Prometheus("127.0.0.1:8080") as prometheus:
        prometheus.query("up")
"""

import json
import pathlib
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from quire_server import free_port

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = ROOT / ".deps/clients/prometheus"
START_TIMEOUT_S = 30


def promtool(*arguments, stdin=None):
    """The completed process; its output is text."""
    return subprocess.run([PROGRAMS / "promtool", *arguments], input=stdin, capture_output=True, text=True, check=False)


class Prometheus:
    """Scrapes `target` every second, as deploy/prometheus.yml says otherwise."""

    def __init__(self, target):
        self._folder = tempfile.TemporaryDirectory()
        config = (ROOT / "deploy/prometheus.yml").read_text()
        for ours, tests in (("127.0.0.1:8080", target), ("scrape_interval: 15s", "scrape_interval: 1s")):
            assert ours in config, f"deploy/prometheus.yml no longer has {ours}"
            config = config.replace(ours, tests)
        config_file = pathlib.Path(self._folder.name, "prometheus.yml")
        config_file.write_text(config)
        address = f"127.0.0.1:{free_port()}"
        self._url = f"http://{address}"
        self._log = pathlib.Path(self._folder.name, "log")
        self._command = [PROGRAMS / "prometheus", f"--config.file={config_file}", f"--web.listen-address={address}",
                         f"--storage.tsdb.path={self._folder.name}/data"]
        self._process = None

    def __enter__(self):
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = self._log.read_text()
                self.__exit__()
                raise RuntimeError(f"prometheus did not get ready:\n{log}")
            time.sleep(0.1)
        return self

    def __exit__(self, *exception):
        self._process.terminate()
        self._process.wait(30)
        self._folder.cleanup()

    def query(self, expression):
        """The series of an instant query, as (labels, value)."""
        result = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        return [(series["metric"], float(series["value"][1])) for series in result["data"]["result"]]

    def _get(self, path):
        try:
            with urllib.request.urlopen(self._url + path, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode()}") from error

    def _is_ready(self):
        try:
            with urllib.request.urlopen(self._url + "/-/ready", timeout=1) as response:
                return response.status == 200
        except OSError:
            return False
