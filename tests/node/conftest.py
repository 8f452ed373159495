"""Whole nodes as real processes on loopback."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

READY_S = 30
"""Plenty: a start takes half a second, CI machines are slow and noisy."""


class NodeProcess:
    """`python -m callboard serve` on ports of its own choosing."""

    def __init__(self, data_dir: Path, *flags: str, env: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        command = [
            *(sys.executable, "-m", "callboard", "serve", "--data-dir", str(data_dir)),
            *("--http", "127.0.0.1:0", "--dns", "127.0.0.1:0", "--name", "node-a", *flags),
        ]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.http = ""
        self.dns_port = 0

    def wait_ready(self) -> "NodeProcess":
        """Read the listener lines; fails with what the node said instead."""
        lines = []
        while not (self.http and self.dns_port):
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the node ended: {lines} {self.process.stderr.read()}")
            lines.append(line)
            if found := re.search(r"http\s+(https?://\S+)", line):
                self.http = found[1]
            if found := re.search(r"dns\s+127\.0\.0\.1:(\d+)", line):
                self.dns_port = int(found[1])
        return self

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        try:
            self.process.communicate(timeout=READY_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode


@pytest.fixture
def start_node(tmp_path):
    """Start nodes; whatever still runs at the end of the test is killed."""
    started: list[NodeProcess] = []

    def start(*flags: str, data_dir: Path | None = None, env=None) -> NodeProcess:
        node = NodeProcess(data_dir or tmp_path / "data", *flags, env=env)
        started.append(node)
        return node.wait_ready()

    yield start
    for node in started:
        if node.process.poll() is None:
            node.process.kill()
        node.process.communicate()
