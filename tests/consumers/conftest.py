"""A real node whose DNS others use, and foreign programs that run beside it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

SOON_S = 30
ZONE = "callboard.internal"


class Fed:
    """A node that feeds somebody: `register` and `deregister` are HTTP calls to it."""

    def __init__(self, data_dir, *flags, http="127.0.0.1:0", dns="127.0.0.1:0", within=()):
        command = (*within, sys.executable, "-m", "callboard", "serve", "--name", "node-a")
        listeners = ("--data-dir", str(data_dir), "--http", http, "--dns", dns)
        self.process = subprocess.Popen(
            [*command, *listeners, *flags], stdout=subprocess.PIPE, text=True
        )
        said = "".join(self.process.stdout.readline() for _ in range(2))
        found = re.search(r"http://(\S+)\s+dns\s+\S+:(\d+)", said)
        assert found, f"the node did not start: {said}"
        self.http, self.dns_port = found[1], int(found[2])

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.http, timeout=SOON_S)
        connection.request(method, path, body and json.dumps(body))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        assert answer.status < 300, (answer.status, content)

    def register(self, service, id, **described):  # noqa: A002
        self.call("PUT", f"/v1/services/{service}/instances/{id}", {"ttl": 0, **described})

    def deregister(self, service, id):  # noqa: A002
        self.call("DELETE", f"/v1/services/{service}/instances/{id}")


@pytest.fixture
def start_node(tmp_path):
    """Start nodes; each is stopped at the end of the test."""
    started = []

    def start(*flags, **where):
        started.append(Fed(tmp_path / f"data{len(started)}", *flags, **where))
        return started[-1]

    yield start
    for node in started:
        node.process.send_signal(signal.SIGTERM)
        node.process.communicate(timeout=SOON_S)


@pytest.fixture
def run(tmp_path):
    """Start a program in the foreground, its output in a file; it is killed at the end."""
    started = []

    def start(name, *command, **options):
        log = tmp_path / f"{name}.log"
        with log.open("wb") as out:
            group = {"start_new_session": True}
            process = subprocess.Popen(command, stdout=out, stderr=out, **group, **options)
        started.append(process)
        return process, log

    yield start
    for process in started:
        if process.poll() is not None:
            continue
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def wait_for():
    def wait(what, until, log=None):
        """Call until `what` is true of it; what it was last, when it never is."""
        deadline = time.monotonic() + SOON_S
        while True:
            last = what()
            if until(last):
                return last
            if time.monotonic() > deadline:
                raise AssertionError(f"last seen: {last!r}; {log.read_text() if log else ''}")
            time.sleep(0.05)

    return wait


@pytest.fixture
def dig():
    def ask(port, name, kind="A", *options):
        """Status and sorted records in short form."""
        command = ["dig", "@127.0.0.1", "-p", str(port), name, kind, "+tries=1", "+time=5"]
        ran = subprocess.run([*command, *options], capture_output=True, text=True)
        status = re.search(r"status: (\w+)", ran.stdout)
        answers = re.findall(rf"^[^;\s]\S*\s+\d+\s+IN\s+{kind}\s+(.*)$", ran.stdout, re.MULTILINE)
        return status and status[1], sorted(answers)

    return ask
