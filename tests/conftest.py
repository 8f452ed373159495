"""What every test may rely on: the import path, the marker for foreign programs, and an etcd."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import hypothesis
import pytest

# The repository root is the package `callboard`; on the path it would let our `dns/` hide
# dnspython's `dns`, which is the independent reader of our answers.
_ROOT = str(Path(__file__).resolve().parent.parent)
sys.path[:] = [entry for entry in sys.path if entry not in ("", _ROOT)]


# A shell that starts us in the background ignores Ctrl-C for us and all that we start: who sends
# one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline for each example would be a test of the machine's speed.
hypothesis.settings.register_profile("unhurried", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("unhurried")

# Nodes that tests kill take their DNS workers along, but for the tests of that.
os.environ["CALLBOARD_DNS_OUTLIVE"] = "no"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose foreign programs are missing; in CI that is a failure instead."""
    for marker in item.iter_markers("foreign"):
        _require(*marker.args)


@pytest.fixture(scope="session")
def require():
    """`require("cc")`: the marker's work, for fixtures."""
    return _require


def _require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    reason = f"not installed: {', '.join(missing)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


ETCD_READY_S = 20.0


class EtcdMember:
    """Debian's etcd as a process on ports of its own; `url` is where clients reach it."""

    def __init__(self, directory: Path, name: str = "one", *flags: str) -> None:
        self.name = name
        self.directory = directory
        self.flags = flags
        self.peer_url = f"http://127.0.0.1:{_free_port()}"
        self.url = f"http://127.0.0.1:{_free_port()}"
        self.initial = f"{name}={self.peer_url}"
        self.process = None

    def start(self):
        command = [
            *("etcd", "--name", self.name, "--data-dir", str(self.directory / self.name)),
            *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
            *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
            *("--initial-cluster", self.initial, "--logger", "zap", "--log-level", "error"),
            *self.flags,
        ]
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def wait_ready(self):
        """Until it answers a linearizable read."""
        deadline = time.monotonic() + ETCD_READY_S
        while self.ctl("get", "ready", check=False).returncode != 0:
            assert time.monotonic() < deadline, "etcd does not start"
            time.sleep(0.02)
        return self

    def ctl(self, *arguments, check=True):
        return subprocess.run(
            ["etcdctl", "--endpoints", self.url, "--command-timeout", "2s", *arguments],
            env={**os.environ, "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            check=check,
        )

    def stop(self, signum=signal.SIGKILL):
        """Safe to do twice, and to one that was stopped by SIGSTOP."""
        if self.process is not None:
            self.process.send_signal(signum)
            self.process.wait()
            self.process = None


_FREE_PORTS = range(10_000, 32_000)
"""Below those that the kernel gives to whoever asks for any: nobody else comes by one before the
program that is told to use it."""


def _free_port():
    """A loopback port free for UDP and TCP, for programs that cannot be told to choose one."""
    while True:
        port = random.choice(_FREE_PORTS)
        with (
            contextlib.suppress(OSError),
            socket.socket() as tcp,
            socket.socket(type=socket.SOCK_DGRAM) as udp,
        ):
            for one in (tcp, udp):
                one.bind(("127.0.0.1", port))
            return port


@pytest.fixture(scope="session")
def free_port():
    return _free_port


@pytest.fixture(scope="session")
def etcd_member(require):
    """The class `EtcdMember`: `etcd_member(directory, name, *flags)`."""
    require("etcd", "etcdctl")
    return EtcdMember


@pytest.fixture(scope="session")
def etcd(etcd_member, tmp_path_factory):
    """One etcd for all tests that do it no harm."""
    member = etcd_member(tmp_path_factory.mktemp("etcd"), "one", "--max-txn-ops", "2048").start()
    try:
        yield member.wait_ready()
    finally:
        member.stop()
