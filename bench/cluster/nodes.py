"""A cluster under test: three callboard nodes, or three members of etcd alone.

The three share all cores, with the load too: who is pinned to one core with two others waits for
them, which is nobody's cluster.
"""

import contextlib
import json
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from ..board import Board
from ..ports import HOST, free_port
from ..processes import ALL_CORES, DidNotStart, Server, found

NAMES = ("a", "b", "c")
SETTLE_S_MAX = 30.0
"""An election and the start of a node take seconds; a cluster that needs longer is broken."""
_POLL_S = 0.002


class Nodes:
    """Three nodes that formed a cluster. Raises `DidNotStart`."""

    def __init__(self, work_dir: Path, stack: contextlib.ExitStack) -> None:
        peers = {name: f"{HOST}:{free_port()}" for name in NAMES}
        cluster = ",".join(f"{name}={address}" for name, address in peers.items())
        self.boards = {
            name: Board(work_dir, name, "--cluster", cluster, "--peer", peers[name])
            for name in NAMES
        }
        for board in self.boards.values():
            board.server.cores = ALL_CORES
            stack.callback(board.server.stop)
            board.launch()
        for board in self.boards.values():
            board.wait_ready()

    @property
    def http_ports(self) -> list[int]:
        return [board.http_port for board in self.boards.values()]

    def cpu_s(self) -> float:
        """Of those that run."""
        return sum(self.boards[name].server.cpu_s() for name in self.running())

    def status(self, name: str) -> dict[str, Any]:
        url = f"http://{HOST}:{self.boards[name].http_port}/v1/status"
        with urllib.request.urlopen(url, timeout=5) as answer:
            said: dict[str, Any] = json.load(answer)
        return said

    def settled(self, of: str = NAMES[0]) -> dict[str, Any]:
        """The status of node `of`, once it knows a leader and a keeper that both run."""
        deadline = time.monotonic() + SETTLE_S_MAX
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                said = self.status(of)
                if {said["leader"], said["keeper"]} <= self.running():
                    return said
            time.sleep(_POLL_S)
        raise DidNotStart("the cluster has no leader or no keeper")

    def running(self) -> set[str]:
        return {name for name, board in self.boards.items() if board.server.is_running()}

    def in_step(self) -> None:
        """Return when all nodes show the same index, and it stands still."""
        deadline = time.monotonic() + SETTLE_S_MAX
        while len({self.status(name)["index"] for name in self.running()}) > 1:
            if time.monotonic() > deadline:
                raise DidNotStart("the nodes do not come to the same index")
            time.sleep(_POLL_S)


class EtcdTrio:
    """Three members of etcd with their JSON gateways. Raises `Missing` or `DidNotStart`."""

    def __init__(self, work_dir: Path, stack: contextlib.ExitStack) -> None:
        etcd = found("etcd")
        peers = {name: f"http://{HOST}:{free_port()}" for name in NAMES}
        cluster = ",".join(f"{name}={peer}" for name, peer in peers.items())
        self.ports = [free_port() for _ in NAMES]
        self.servers = []
        for name, port in zip(NAMES, self.ports, strict=True):
            home = Path(tempfile.mkdtemp(prefix=f"etcd-{name}-", dir=work_dir))
            client = f"http://{HOST}:{port}"
            options = {
                "name": name,
                "data-dir": home / "data",
                "listen-client-urls": client,
                "advertise-client-urls": client,
                "listen-peer-urls": peers[name],
                "initial-advertise-peer-urls": peers[name],
                "initial-cluster": cluster,
                "log-level": "error",
            }
            argv = [etcd, *(f"--{key}={value}" for key, value in options.items())]
            server = Server(argv, home / "log")
            server.cores = ALL_CORES
            self.servers.append(stack.enter_context(server))
        for server, port in zip(self.servers, self.ports, strict=True):
            server.wait_until(lambda port=port: _is_healthy(port))

    def cpu_s(self) -> float:
        return sum(server.cpu_s() for server in self.servers)


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=1) as answer:
            return b"true" in answer.read()
    except OSError:
        return False
