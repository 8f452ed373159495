"""Clusters of real nodes on loopback, each with its member of etcd."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

WAIT_S = 40
"""Plenty: a cluster forms within two seconds, CI machines are slow and noisy."""
CALL_S = 10
HOST = "127.0.0.1"


def wait_for(condition, what="it"):
    """Poll until `condition()` is true; what it was."""
    deadline_s = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"{what} did not come true"
        time.sleep(0.05)
    return found


class ClusterNode:
    """One `callboard serve --cluster`; may be started again on the same data and ports."""

    def __init__(self, name, home, http_port, peer_port):
        self.name = name
        self.data_dir = home / name
        self.log = home / f"{name}.log"
        self.peer = f"{HOST}:{peer_port}"
        self.http = f"http://{HOST}:{http_port}"
        self.process = None

    def start(self, cluster, *flags):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "callboard", "serve", "--name", self.name),
                    *("--data-dir", str(self.data_dir), "--cluster", cluster),
                    *("--http", self.http.removeprefix("http://"), "--dns", f"{HOST}:0"),
                    *flags,
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "CALLBOARD_DNS_OUTLIVE": "no"},
            )

    @property
    def said(self):
        return self.log.read_text(errors="replace")

    @property
    def runs(self):
        return self.process is not None and self.process.poll() is None

    def call(self, method, path, body=None, timeout_s=CALL_S):
        """(status, decoded answer); status 0 when nobody answered."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.http + path, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())
        except OSError as error:
            return 0, str(error)

    def is_ready(self):
        assert self.runs, f"{self.name} has ended: {self.said[-2000:]}"
        return self.call("GET", "/readyz", timeout_s=2)[0] == 200

    def status(self):
        return self.call("GET", "/v1/status")[1]

    def ids(self, service):
        answer = self.call("GET", f"/v1/services/{service}/instances")[1]
        return sorted(instance["id"] for instance in answer["instances"])

    def etcd_pids(self):
        ran = subprocess.run(
            ["pgrep", "-f", f"etcd .*--data-dir={self.data_dir}/"], capture_output=True, text=True
        )
        return [int(pid) for pid in ran.stdout.split()]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


class Cluster:
    """`nodes` by name; all that still runs at the end is killed."""

    def __init__(self, home, names, free_port):
        self.nodes = {name: ClusterNode(name, home, free_port(), free_port()) for name in names}

    def __getitem__(self, name):
        return self.nodes[name]

    def list_of(self, names):
        return ",".join(f"{name}={self.nodes[name].peer}" for name in names)

    def start(self, names="abc", flags=lambda _name: ()):
        """Each node is told the list in another order."""
        for at, name in enumerate(names):
            self.nodes[name].start(self.list_of(names[at:] + names[:at]), *flags(name))
        for name in names:
            wait_for(self.nodes[name].is_ready, f"{name} ready")
        return self

    def keeper(self, of="a"):
        """The name of the node that keeps the leases."""
        return wait_for(lambda: self.nodes[of].status()["keeper"], "a keeper")

    def kill_all(self):
        for node in self.nodes.values():
            if node.runs:
                node.process.send_signal(signal.SIGCONT)
                node.kill()
        for node in self.nodes.values():
            wait_for(lambda node=node: not node.etcd_pids(), f"the end of the etcd of {node.name}")


@pytest.fixture
def cluster(tmp_path, require, free_port):
    """`cluster("abcd")`: nodes that are not started yet."""
    require("etcd")
    made = []

    def make(names="abc"):
        made.append(Cluster(tmp_path, names, free_port))
        return made[-1]

    yield make
    for one in made:
        one.kill_all()


@pytest.fixture
def callboard():
    """`callboard("members", "add", ...)`: (exit code, what it said)."""

    def run(*arguments, node=None):
        server = ["--server", node.http] if node else []
        ran = subprocess.run(
            [sys.executable, "-m", "callboard", *arguments, *server],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        return ran.returncode, re.sub(r"\s+", " ", ran.stdout + ran.stderr)

    return run


@pytest.fixture(name="wait_for")
def _wait_for():
    return wait_for
