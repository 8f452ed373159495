"""A cluster under test: one process group for each node, each on its own ground and disk.

Two ways in, as users have them: `--cluster`, where a node runs its member of etcd as a child, and
`--etcd`, where the member beside each node is started here.
"""

import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgpack

from .ground import Ground

Way = Literal["cluster", "etcd"]

HTTP, DNS, PEER, RAFT, CLIENT = 8500, 8600, 8300, 2380, 2379
START_S_MAX = 60.0
"""Three nodes start side by side on two cores that may be busy."""
STEP_S = 0.05
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
"""Even if the harness is killed outright."""


class NotLive(Exception):
    """The cluster did not come back; says what is missing."""


class Node:
    """One node: its processes, its files, and how it is asked."""

    def __init__(self, name: str, ground: Ground, home: Path, way: Way) -> None:
        self.name, self.ground, self.home, self.way = name, ground, home, way
        self.data_dir = home / "data"
        self.environment: dict[str, str] = {}
        self.address = ground.address(name)
        self._log = (home / "log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None
        self.etcd: subprocess.Popen[bytes] | None = None
        self.options: tuple[str, ...] = ()

    def start(self, first: Sequence[str]) -> None:
        """`first`: the names of the cluster's first members."""
        if self.way == "etcd":
            self.start_etcd(first)
            engine = ["--etcd", f"http://{self.address}:{CLIENT}"]
            engine += ["--calls", f"{self.address}:{PEER}", "--insecure-peers"]
        else:
            peers = ",".join(f"{name}={self.ground.address(name)}:{PEER}" for name in first)
            engine = ["--cluster", peers, "--peer", f"{self.address}:{PEER}", "--insecure-peers"]
        command = [
            *(sys.executable, "-m", "callboard", "serve", "--name", self.name),
            *("--data-dir", str(self.data_dir), "--http", f"{self.address}:{HTTP}"),
            *("--dns", f"{self.address}:{DNS}", "--log-format", "json", *engine, *self.options),
        ]
        self.process = self._launch(command)

    def start_etcd(self, first: Sequence[str]) -> None:
        """The member beside the node, for `--etcd`."""
        if self.etcd is not None and self.etcd.poll() is None:
            return
        raft = {name: f"http://{self.ground.address(name)}:{RAFT}" for name in first}
        client = f"http://{self.address}:{CLIENT}"
        options = {
            "name": self.name,
            "data-dir": self.data_dir / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": raft[self.name],
            "initial-advertise-peer-urls": raft[self.name],
            "initial-cluster": ",".join(f"{name}={url}" for name, url in raft.items()),
            "heartbeat-interval": 100,
            "election-timeout": 600,
            "log-level": "error",
        }
        self.data_dir.mkdir(exist_ok=True)
        os.chmod(self.data_dir, 0o700)
        self.etcd = self._launch(["etcd", *(f"--{key}={value}" for key, value in options.items())])

    def _launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.ground.inside(self.name), *DIES_WITH_US, *command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **self.environment},
            cwd=self.home,
        )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def pids(self) -> list[int]:
        """The node, its children and theirs, and its etcd."""
        roots = [p.pid for p in (self.process, self.etcd) if p is not None and p.poll() is None]
        return [pid for root in roots for pid in _tree(root)]

    def another(self, pid: Callable[[], int], than: int) -> bool:
        """Waits until what `pid` finds is another process; False when it never is."""
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline:
            with contextlib.suppress(NotLive):
                if pid() != than:
                    return True
            time.sleep(STEP_S)
        return False

    def etcd_pid(self) -> int:
        return self._pid(_is_etcd)

    def etcd_pids(self) -> list[int]:
        """None between the death of a member and its next start."""
        with contextlib.suppress(NotLive):
            return [self.etcd_pid()]
        return []

    def dns_pid(self) -> int:
        return self._pid(lambda command: any("dns.worker" in part for part in command))

    def _pid(self, is_it: Any) -> int:
        for pid in self.pids():
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                if is_it(command):
                    return pid
        raise NotLive(f"{self.name} has no such process")

    def signal(self, signum: int, pids: Iterable[int] | None = None) -> None:
        for pid in self.pids() if pids is None else pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def kill(self) -> None:
        """As a machine that goes: node, children and etcd at once."""
        self.signal(signal.SIGKILL)
        self._reap()

    def stop(self, timeout_s: float = 30) -> int:
        """SIGTERM; the node's exit code. With `--etcd` its member stays, as in life."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout_s)

    def _reap(self) -> None:
        for process in (self.process, self.etcd):
            if process is not None:
                process.wait(10)

    def close(self) -> None:
        self.signal(signal.SIGCONT)
        self.kill()
        self._log.close()

    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def endpoint(self) -> str:
        """Where etcdctl reaches this node's member."""
        if self.way == "etcd":
            return f"http://{self.address}:{CLIENT}"
        sockets = [path for path in self.data_dir.rglob("*") if path.is_socket()]
        if not sockets:
            raise NotLive(f"{self.name} has no socket of etcd under {self.data_dir}")
        return f"unix://{sockets[0]}"

    def etcdctl(self, *arguments: str, timeout_s: float = 30) -> str:
        """Asks this node's own member."""
        ran = subprocess.run(
            [
                *self.ground.inside(self.name),
                "etcdctl",
                f"--endpoints={self.endpoint()}",
                *arguments,
            ],
            env={**os.environ, "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if ran.returncode != 0:
            raise NotLive(f"etcdctl {arguments[0]} at {self.name}: {ran.stderr.strip()}")
        return ran.stdout

    def raft_term(self) -> int:
        """As this node's own member has it: it grows with each election."""
        (told,) = json.loads(self.etcdctl("endpoint", "status", "--write-out=json"))
        return int(told["Status"]["raftTerm"])

    def stopped(self) -> int:
        """How many of its processes stand still."""
        stats = [_stat(pid) for pid in self.pids()]
        return sum(stat.rpartition(")")[2].split()[:1] == ["T"] for stat in stats)

    def ask(
        self, method: str, path: str, body: Any = None, *, timeout_s: float = 3
    ) -> tuple[int, Any]:
        """From the thread's own namespace; status and JSON. Raises `OSError`."""
        client = http.client.HTTPConnection(self.address, HTTP, timeout=timeout_s)
        with contextlib.closing(client):
            try:
                client.request(method, path, None if body is None else json.dumps(body))
                answer = client.getresponse()
                text = answer.read()
            except http.client.HTTPException as error:
                raise ConnectionError(str(error)) from error
        return answer.status, json.loads(text) if text else None


class Cluster:
    """`names` form it. Asking it is for threads that stand with the clients."""

    def __init__(self, ground: Ground, home: Path, names: Sequence[str], way: Way) -> None:
        self.first = list(names)
        self.ground, self.home, self.way = ground, home, way
        self.nodes: dict[str, Node] = {}
        self.busy = False
        """Others write meanwhile, so that indices cannot be compared."""
        self._missing = ""
        for name in names:
            self._place(name)

    def _place(self, name: str) -> Node:
        home = self.home / name
        home.mkdir(parents=True)
        self.nodes[name] = Node(name, self.ground, home, self.way)
        return self.nodes[name]

    def start(self) -> None:
        for node in self.nodes.values():
            node.start(self.first)
        self.wait_live(START_S_MAX)

    def restart(self, name: str) -> None:
        """Start it unless it runs."""
        if not self.nodes[name].is_running:
            self.nodes[name].start(self.first)

    def add(self, name: str) -> Node:
        self.ground.add(name)
        return self._place(name)

    def forget(self, name: str) -> None:
        self.nodes.pop(name).close()

    def leader(self) -> str:
        """The node whose member of etcd leads."""
        return str(self._of_any(_leader, "no node knows a leader"))

    def keeper(self) -> str:
        """The node that keeps the leases, as the engine has it."""
        return str(self._of_any(_keeper, "there is no keeper"))

    def next_keeper(self, last: str) -> str:
        """Waits until the other nodes' engine has another keeper than `last`."""
        return str(self._of_any(_keeper, f"{last} is the keeper still", last))

    def _of_any(self, ask: Callable[[Node], str], otherwise: str, but: str = "") -> str:
        def ask_all() -> str:
            for node in self.nodes.values():
                with contextlib.suppress(OSError, NotLive, subprocess.TimeoutExpired):
                    name = ask(node) if node.name != but else but
                    if name in self.nodes and name != but:
                        return name
            return ""

        return str(self._until(ask_all, 20, otherwise))

    def wait_live(self, limit_s: float) -> float:
        """Until every node is ready, takes a write and shows the same index; how long it took."""
        began = time.monotonic()
        self._until(self._is_live, limit_s, "")
        return time.monotonic() - began

    def _is_live(self) -> bool:
        for node in self.nodes.values():
            problem = self._problem(node)
            if problem:
                self._missing = f"{node.name}: {problem}"
                return False
        indices = set()
        with contextlib.suppress(OSError):
            indices = {node.ask("GET", "/v1/status")[1]["index"] for node in self.nodes.values()}
        self._missing = f"the nodes show different indices: {indices}"
        return len(indices) == 1 or self.busy

    def _problem(self, node: Node) -> str:
        if not node.is_running:
            return f"it has ended: {node.log()[-600:]}"
        try:
            for method, path, body in (
                ("GET", "/readyz", None),
                ("PUT", f"/v1/kv/live-{node.name}", time.monotonic()),
            ):
                status, said = node.ask(method, path, body, timeout_s=2)
                if status != 200:
                    return f"{path} answers {status} {said}"
        except OSError as error:
            return f"does not answer: {error}"
        return ""

    def _until(self, ask: Any, limit_s: float, otherwise: str) -> Any:
        deadline = time.monotonic() + limit_s
        while True:
            found = ask()
            if found:
                return found
            if time.monotonic() > deadline:
                raise NotLive(otherwise or f"not live after {limit_s:g} s: {self._missing}")
            time.sleep(STEP_S)

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()


def _leader(node: Node) -> str:
    status, said = node.ask("GET", "/v1/status", timeout_s=1)
    return str(said["leader"]) if status == 200 else ""


def _keeper(node: Node) -> str:
    kept = node.etcdctl("get", "--write-out=json", "callboard/keeper", "--prefix", timeout_s=5)
    pairs = json.loads(kept).get("kvs", [])
    return str(msgpack.unpackb(base64.b64decode(pairs[0]["value"]))[0]) if pairs else ""


def _is_etcd(command: Sequence[str]) -> bool:
    return os.path.basename(command[0]) == "etcd"


def _stat(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text()
    return ""


def _tree(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                children += map(int, (task / "children").read_text().split())
    return [pid, *(found for child in children for found in _tree(child))]
