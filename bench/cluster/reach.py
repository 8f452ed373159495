"""How fast what one node is told reaches the others: changes into DNS, renewals to the keeper."""

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator

from .. import wire, wrk
from ..board import call, registration
from ..context import Context
from ..names import RECORDS_PER_NAME, ZONE
from ..rounds import check_usage, interleaved
from ..samples import Series, Table, at_least, at_most
from ..suites.http import series_of
from .nodes import Nodes

CHANGES, QUICK_CHANGES = 2000, 100
VISIBLE_P99_MS_MAX = 15.0
RENEWALS_MIN = 100_000
RENEWALS_A_CALL = 10_000
RENEWAL_CONNECTIONS = 4
_GIVE_UP_S = 5.0
_SERVICE = "turning"


def visible(context: Context, nodes: Nodes) -> None:
    """From the answer of one node until the last node's DNS hands the address out."""
    changes = QUICK_CHANGES if context.quick else CHANGES
    context.say(f"{changes:,} changes seen in DNS at every node")
    delays_ms = sorted(_delays_ms(nodes, changes))
    p99 = delays_ms[len(delays_ms) * 99 // 100]
    notes = {
        "p50 ms": f"{delays_ms[len(delays_ms) // 2]:.2f}",
        "max ms": f"{delays_ms[-1]:.2f}",
        "changes": f"{changes:,}",
    }
    title = "Cluster: registered at one node until visible in DNS at every node"
    table = Table(title, "ms at p99", "less", [Series("at rest", (p99,), notes, ours=True)])
    context.outcome.tables.append(table)
    context.outcome.figures.append(
        at_most(
            "registered at one node to visible in DNS at every node, p99",
            f"≤ {VISIBLE_P99_MS_MAX:g} ms",
            p99,
            VISIBLE_P99_MS_MAX,
            " ms",
        )
    )


def _delays_ms(nodes: Nodes, changes: int) -> Iterator[float]:
    boards = list(nodes.boards.values())
    question = wire.query(f"{_SERVICE}.service.{ZONE}")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(board.client())) for board in boards]
        askers = [stack.enter_context(wire.asker(one.dns_port, _GIVE_UP_S)) for one in boards]
        for number in range(changes):
            ipv4 = f"10.200.{number >> 8 & 255}.{number & 255}"
            path = f"/v1/services/{_SERVICE}/instances/{_SERVICE}-0"
            call(clients[number % len(clients)], "PUT", path, registration(ipv4))
            answered = time.perf_counter()
            for dns in askers:
                _wait_for(dns, question, number, socket.inet_aton(ipv4), answered)
            yield (time.perf_counter() - answered) * 1e3


def _wait_for(
    dns: socket.socket, question: bytes, number: int, wanted: bytes, since: float
) -> None:
    packet = struct.pack("!H", number & 0xFFFF) + question[2:]
    while True:
        dns.send(packet)
        # One A record: its address is the answer's end.
        if dns.recv(512).endswith(wanted):
            return
        if time.perf_counter() - since > _GIVE_UP_S:
            raise RuntimeError(f"change {number} was not visible after {_GIVE_UP_S} s")


def renewals(context: Context, nodes: Nodes, services: int) -> None:
    """The nodes hold `services` of `bench.board.services`."""
    keeper = nodes.settled()["keeper"]
    other = next(board for name, board in nodes.boards.items() if name != keeper)
    title = f"Cluster: renewals of {services * RECORDS_PER_NAME:,} instances, "
    title += f"{RENEWALS_A_CALL:,} a call"
    context.say(title)

    def window(port: int) -> Callable[[], wrk.Window]:
        return lambda: wrk.run(
            port,
            "heartbeats",
            RENEWAL_CONNECTIONS,
            context.seconds,
            nodes.cpu_s,
            *(str(services), str(RENEWALS_A_CALL)),
            together=True,
        )

    cases = {
        "through a node that is not the keeper": window(other.http_port),
        "at the keeper": window(nodes.boards[keeper].http_port),
    }
    measured = interleaved(context, cases)
    usages = {label: [one.usage for one in seen] for label, seen in measured.items()}
    check_usage(context, title, usages)
    series = [
        series_of(context, title, label, windows, each=RENEWALS_A_CALL)
        for label, windows in measured.items()
    ]
    context.outcome.tables.append(Table(title, "renewals/s", "more", series))
    context.outcome.figures.append(
        at_least(
            "renewals through a node that is not the keeper, in batches",
            f"≥ {RENEWALS_MIN:,}/s",
            series[0].median,
            RENEWALS_MIN,
            "/s",
        )
    )
