"""The node whose etcd leads is killed: until the next write is acknowledged; DNS meanwhile."""

import contextlib
import http.client
import json
import socket
import threading
import time
from statistics import median
from typing import Self

from ..board import registration
from ..context import Context
from ..names import owner
from ..ports import HOST
from ..samples import Figure, Series, Table, at_most
from ..wire import asker, query
from .nodes import SETTLE_S_MAX, Nodes

KILLS, QUICK_KILLS = 20, 2
P50_S_MAX = 1.2
MAX_S_MAX = 2.5
ATTEMPT_S = 1.0
"""How long a client waits for one node before it asks the next; as long as ours do by default
would hide a node that does not answer at all."""
DNS_INTERVAL_S = 0.001
DNS_TIMEOUT_S = 1.0


def measure(context: Context, nodes: Nodes) -> None:
    kills = QUICK_KILLS if context.quick else KILLS
    context.say(f"the leader's node is killed {kills} times")
    asked = failed = 0
    took_s = []
    for number in range(kills):
        leader = nodes.settled()["leader"]
        others = [name for name in nodes.boards if name != leader]
        with _Asking([nodes.boards[name].dns_port for name in others]) as asking:
            took_s.append(_kill_and_write(nodes, leader, others, number))
        asked += asking.asked
        failed += asking.failed
        nodes.boards[leader].start()
        nodes.in_step()
    series = Series(
        "until the next write is acknowledged",
        tuple(took_s),
        {"kills": str(kills), "DNS queries meanwhile": f"{asked:,}", "of them failed": str(failed)},
        ours=True,
    )
    table = Table("Cluster: the leader's node is killed", "s", "less", [series])
    context.outcome.tables.append(table)
    context.outcome.figures += [
        at_most(
            "leader killed until a write, p50", f"≤ {P50_S_MAX} s", median(took_s), P50_S_MAX, " s"
        ),
        at_most(
            "leader killed until a write, max", f"≤ {MAX_S_MAX} s", max(took_s), MAX_S_MAX, " s"
        ),
        Figure(
            "DNS queries failed while it is killed (other nodes asked)",
            "0",
            f"{failed} of {asked:,}",
            failed == 0,
        ),
    ]


def _kill_and_write(nodes: Nodes, leader: str, others: list[str], number: int) -> float:
    """Asks the others in turn, as a client with several servers does."""
    nodes.boards[leader].server.kill()
    killed = time.monotonic()
    attempt = 0
    while time.monotonic() < killed + SETTLE_S_MAX:
        board = nodes.boards[others[attempt % len(others)]]
        attempt += 1
        if _write(board.http_port, f"after-{number}-{attempt}"):
            return time.monotonic() - killed
        time.sleep(0.005)
    raise RuntimeError(f"no write was acknowledged {SETTLE_S_MAX} s after {leader} was killed")


def _write(port: int, name: str) -> bool:
    client = http.client.HTTPConnection(HOST, port, timeout=ATTEMPT_S)
    with contextlib.closing(client), contextlib.suppress(OSError, http.client.HTTPException):
        body = json.dumps(registration("10.1.2.3"))
        path = f"/v1/services/failover/instances/{name}"
        client.request("PUT", path, body, {"Content-Type": "application/json"})
        return client.getresponse().status == 201
    return False


class _Asking:
    """Asks each port a known name, over and over, in a thread of its own."""

    def __init__(self, ports: list[int]) -> None:
        self.asked = self.failed = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(port,)) for port in ports]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, port: int) -> None:
        question = query(owner(0))
        with asker(port, DNS_TIMEOUT_S) as dns:
            while not self._stop.wait(DNS_INTERVAL_S):
                ok = _is_answered(dns, question)
                with self._lock:
                    self.asked += 1
                    self.failed += not ok


def _is_answered(dns: socket.socket, question: bytes) -> bool:
    try:
        dns.send(question)
        answer = dns.recv(512)
    except OSError:
        return False
    return answer[3] & 15 == 0 and answer[6:8] != b"\0\0"
