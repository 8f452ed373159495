"""The ground that nodes stand on: a network namespace for each, joined by a bridge in another.

Nothing of it touches the machine's own network: the bridge, all addresses and all rules live in
namespaces named after this process, and go with them. Clients stand in a namespace beside the
nodes', so that what is cut between nodes is never cut from the clients.

Where namespaces are not permitted, each node has an address on the loopback of its own: processes
can be harmed there, the network between them cannot.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

PREFIX = "cbf"
NETNS = Path("/var/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Impossible(Exception):
    """This machine, or this way of running the cluster, cannot have that fault; says why."""


class Ground(Protocol):
    """`hosts` are the nodes' names; `harmed` counts the packets that healed rules have met."""

    hosts: list[str]
    harmed: int

    def address(self, host: str) -> str: ...

    def next_address(self) -> str:
        """Of the host that is added next."""
        ...

    def inside(self, host: str) -> list[str]:
        """What to put before a command that is to run there."""
        ...

    def add(self, host: str) -> None:
        """One more node's place."""
        ...

    def rules(self, host: str, *arguments: str) -> None:
        """`iptables` at a node. Raises `Impossible`, as all that changes the network does."""
        ...

    def deafen(self, host: str, others: Sequence[str], *match: str) -> None:
        """`host` receives nothing from `others` any more, or of it what `match` says."""
        ...

    def cut(self, one_side: Sequence[str], other_side: Sequence[str]) -> None:
        """Nothing passes between them, in either direction."""
        ...

    def heal(self) -> None: ...

    def stand_with_clients(self) -> None:
        """Sockets that this thread makes from now on are the clients'."""
        ...

    def standing_with_clients(self) -> contextlib.AbstractContextManager[None]: ...


class Loopback:
    """No namespaces: an address for each node, and no faults of the network."""

    def __init__(self, hosts: Sequence[str], reason: str) -> None:
        self.hosts = list(hosts)
        self.harmed = 0
        self._reason = reason

    def address(self, host: str) -> str:
        pid = os.getpid()
        return f"127.{1 + pid % 250}.{pid // 250 % 250}.{11 + self.hosts.index(host)}"

    def next_address(self) -> str:
        return _following(self.address(self.hosts[-1]))

    def inside(self, host: str) -> list[str]:
        return []

    def add(self, host: str) -> None:
        self.hosts.append(host)

    def rules(self, *_: object) -> None:
        raise Impossible(self._reason)

    deafen = cut = heal = rules

    def stand_with_clients(self) -> None:
        """Everything is on one network."""

    def standing_with_clients(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class Namespaces:
    """Use `laid()`, which takes everything away again."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = list(hosts)
        self.harmed = 0
        self._switch = self._named("switch")
        self.clients = self._named("clients")

    @staticmethod
    def _named(host: str) -> str:
        return f"{PREFIX}{os.getpid()}-{host}"

    def address(self, host: str) -> str:
        return f"10.77.0.{11 + self.hosts.index(host)}"

    def next_address(self) -> str:
        return _following(self.address(self.hosts[-1]))

    def inside(self, host: str) -> list[str]:
        return ["nsenter", f"--net={NETNS / self._named(host)}", "--"]

    def lay(self) -> None:
        _run("ip", "netns", "add", self._switch)
        self._in_switch("ip", "link", "add", "br0", "type", "bridge")
        self._in_switch("ip", "link", "set", "br0", "up")
        for host in self.hosts:
            self._join(self._named(host), self.address(host), host)
        self._join(self.clients, "10.77.0.10", "clients")

    def add(self, host: str) -> None:
        self.hosts.append(host)
        self._join(self._named(host), self.address(host), host)

    def _join(self, namespace: str, address: str, port: str) -> None:
        _run("ip", "netns", "add", namespace)
        far_end = ("peer", "name", "eth0", "netns", namespace)
        self._in_switch("ip", "link", "add", "name", f"to-{port}", "type", "veth", *far_end)
        self._in_switch("ip", "link", "set", f"to-{port}", "master", "br0", "up")
        for arguments in (
            ("addr", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _run("ip", "-n", namespace, *arguments)

    def take_away(self) -> None:
        for host in [*self.hosts, "clients", "switch"]:
            subprocess.run(["ip", "netns", "del", self._named(host)], capture_output=True)

    def _in_switch(self, *command: str) -> None:
        _run("nsenter", f"--net={NETNS / self._switch}", "--", *command)

    def rules(self, host: str, *arguments: str) -> None:
        _run(*self.inside(host), "iptables", "-w", *arguments)

    def deafen(self, host: str, others: Sequence[str], *match: str) -> None:
        for other in others:
            self.rules(host, "-A", "INPUT", "-s", self.address(other), *match, "-j", "DROP")

    def cut(self, one_side: Sequence[str], other_side: Sequence[str]) -> None:
        for host in one_side:
            self.deafen(host, other_side)
        for host in other_side:
            self.deafen(host, one_side)

    def heal(self) -> None:
        for host in self.hosts:
            for table in ("filter", "nat"):
                self.harmed += self._met(host, table)
                self.rules(host, "-t", table, "-F")

    def _met(self, host: str, table: str) -> int:
        """The packets that its rules have met so far."""
        said = _run(*self.inside(host), "iptables", "-w", "-t", table, "-nvxL")
        counters = (line.split()[0] for line in said.splitlines() if "Chain" not in line and line)
        return sum(int(counter) for counter in counters if counter.isdigit())

    def stand_with_clients(self) -> None:
        _enter(NETNS / self.clients)

    @contextlib.contextmanager
    def standing_with_clients(self) -> Iterator[None]:
        with Path("/proc/thread-self/ns/net").open() as home:
            self.stand_with_clients()
            try:
                yield
            finally:
                _enter_file(home)


def _following(address: str) -> str:
    head, _, last = address.rpartition(".")
    return f"{head}.{int(last) + 1}"


def _enter(namespace: Path) -> None:
    with namespace.open() as file:
        _enter_file(file)


def _enter_file(file: IO[str]) -> None:
    """Move this thread, and no other, into a network namespace."""
    if _libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), file.name)


@contextlib.contextmanager
def laid(hosts: Sequence[str]) -> Iterator[Ground]:
    """Namespaces where they are permitted. What runs that were killed left behind goes first."""
    missing = [name for name in ("ip", "iptables", "nsenter") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        reason = f"not installed: {', '.join(missing)}" if missing else "namespaces need root"
        yield Loopback(hosts, reason)
        return
    _sweep()
    ground = Namespaces(hosts)
    try:
        try:
            ground.lay()
        except subprocess.CalledProcessError as error:
            reason = f"{' '.join(error.cmd)}: {error.stderr.strip()}"
            yield Loopback(hosts, reason)
            return
        yield ground
    finally:
        ground.take_away()


def _sweep() -> None:
    for path in NETNS.glob(f"{PREFIX}*-*") if NETNS.is_dir() else ():
        owner = path.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
