"""From the answer to a registration until DNS hands the new address out."""

import contextlib
import http.client
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .. import wire
from ..board import Board, call, registration, services
from ..context import Context
from ..names import NAMES_ASKED, ZONE, asked, write_queries
from ..ports import HOST
from ..processes import found
from ..samples import Series, Table, at_most
from ..writer import writing

CHANGES = 3000
QUICK_CHANGES = 200
WRITES_PER_S = 1000
QUERIES_PER_S = 20_000
"""Well below what the worker can take: above it, one would measure the queue of queries."""
P99_MS_MAX = 5.0
_GIVE_UP_S = 5.0
_LOAD_S_MAX = 600
_SERVICE = "turning"


def run(context: Context) -> None:
    board = context.board("visible")
    board.fill(services(0, NAMES_ASKED))
    queries = write_queries(context.work_dir / "asked", asked())
    changes = QUICK_CHANGES if context.quick else CHANGES
    busy = f"during {WRITES_PER_S:,} registrations/s and {QUERIES_PER_S:,} queries/s"
    series = []
    for label, load in (
        ("at rest", contextlib.nullcontext({})),
        (busy, _load(board, queries)),
    ):
        context.say(f"{changes:,} changes {label}")
        with load as written:
            series.append(_series(label, sorted(_delays_ms(board, changes))))
        if written and written["rate"] < 0.95 * WRITES_PER_S:
            context.doubt(f"visible: only {written['rate']:.0f} registrations/s")
    context.outcome.tables.append(
        Table(
            "Registered (answer received) until visible in DNS",
            "ms at p99",
            "less",
            series,
            note="No less than one DNS round trip, which is part of it.",
        )
    )
    context.outcome.figures += [
        at_most(
            f"registered to visible in DNS, p99, {one.label}",
            f"≤ {P99_MS_MAX:g} ms",
            one.median,
            P99_MS_MAX,
            " ms",
        )
        for one in series
    ]


def _series(label: str, delays_ms: list[float]) -> Series:
    notes = {
        "p50 ms": f"{delays_ms[len(delays_ms) // 2]:.3f}",
        "p99.9 ms": f"{delays_ms[len(delays_ms) * 999 // 1000]:.3f}",
        "max ms": f"{delays_ms[-1]:.3f}",
        "changes": f"{len(delays_ms):,}",
    }
    return Series(label, (delays_ms[len(delays_ms) * 99 // 100],), notes, ours=True)


@contextlib.contextmanager
def _load(board: Board, queries: Path) -> Iterator[dict[str, float]]:
    argv = [found("dnsperf"), "-s", HOST, "-p", str(board.dns_port), "-d", str(queries)]
    argv += ["-T1", "-c4", "-q60", "-Q", str(QUERIES_PER_S), "-l", str(_LOAD_S_MAX)]
    with (
        writing([board.http_port], "put", "others", WRITES_PER_S) as written,
        subprocess.Popen(argv, stdout=subprocess.DEVNULL) as dnsperf,
    ):
        try:
            yield written
        finally:
            dnsperf.kill()


def _delays_ms(board: Board, changes: int) -> Iterator[float]:
    client = board.client()
    question = wire.query(f"{_SERVICE}.service.{ZONE}")
    with contextlib.closing(client), wire.asker(board.dns_port, _GIVE_UP_S) as dns:
        for number in range(changes):
            yield _delay_s(client, dns, question, number) * 1e3


def _delay_s(
    client: http.client.HTTPConnection, dns: socket.socket, question: bytes, number: int
) -> float:
    ipv4 = f"10.200.{number >> 8}.{number & 255}"
    wanted = socket.inet_aton(ipv4)
    path = f"/v1/services/{_SERVICE}/instances/{_SERVICE}-0"
    call(client, "PUT", path, registration(ipv4))
    answered = time.perf_counter()
    packet = struct.pack("!H", number & 0xFFFF) + question[2:]
    while True:
        dns.send(packet)
        # One A record: its address is the answer's end.
        if dns.recv(512).endswith(wanted):
            return time.perf_counter() - answered
        if time.perf_counter() - answered > _GIVE_UP_S:
            raise RuntimeError(f"{ipv4} was not visible after {_GIVE_UP_S} s")
