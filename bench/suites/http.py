"""Registrations and reads over HTTP, each synced to the same disk: callboard beside etcd."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from .. import wrk
from ..board import Board
from ..context import Context
from ..etcd import Etcd
from ..processes import DidNotStart, Missing, Server
from ..rounds import check_usage, interleaved, shares
from ..samples import Series, Table, at_least

CONNECTIONS = (16, 64, 128)
BATCH = 100
BATCH_CONNECTIONS = 8
BATCHED_MIN = 20_000
READ_SERVICES_MAX = 1000
OURS, ETCD_V2, ETCD_V3 = "callboard", "etcd, v2 JSON", "etcd, v3 JSON gateway"


@dataclass(frozen=True)
class Subject:
    name: str
    port: int
    server: Server
    put: str
    get: str


def run(context: Context) -> None:
    board = context.board("http")
    subjects = [
        Subject(OURS, board.http_port, board.server, "put", "get"),
        *_etcd(context),
    ]
    windows = map("w{}x".format, count())
    ratios = [_puts(context, subjects, windows, connections) for connections in CONNECTIONS]
    measured = [ratio for ratio in ratios if ratio is not None]
    context.outcome.figures.append(
        at_least(
            f"single registrations over HTTP, synced (least of {CONNECTIONS} connections)",
            "≥ 1.0 x etcd's v2 JSON API",
            min(measured) if measured else None,
            1.0,
            " x etcd v2",
        )
    )
    _gets(context, subjects)
    _batches(context, board, windows)


def _etcd(context: Context) -> list[Subject]:
    try:
        etcd = Etcd(context.work_dir / "etcd")
        context.stack.enter_context(etcd.server)
        etcd.server.wait_until(etcd.is_healthy)
    except Missing as missing:
        context.outcome.missing.append(f"etcd ({missing} is not installed)")
        return []
    except DidNotStart as error:
        context.outcome.missing.append(f"etcd (did not start: {error})")
        return []
    return [
        Subject(ETCD_V2, etcd.port, etcd.server, "etcd_v2_put", "etcd_v2_get"),
        Subject(ETCD_V3, etcd.port, etcd.server, "etcd_v3_put", "etcd_v3_get"),
    ]


def _puts(
    context: Context, subjects: list[Subject], windows: Iterator[str], connections: int
) -> float | None:
    """Each window registers instances of its own: the ratio to etcd's v2 API."""

    def window(subject: Subject) -> Callable[[], wrk.Window]:
        return lambda: wrk.run(
            subject.port,
            subject.put,
            connections,
            context.seconds,
            subject.server.cpu_s,
            next(windows),
        )

    title = f"HTTP: single registrations, {connections} connections"
    table = _table(context, title, "registrations/s", subjects, window)
    return table.ratio(OURS, ETCD_V2)


def _gets(context: Context, subjects: list[Subject]) -> None:
    services = min(_readable(subject) for subject in subjects)

    def window(subject: Subject) -> Callable[[], wrk.Window]:
        return lambda: wrk.run(
            subject.port,
            subject.get,
            64,
            context.seconds,
            subject.server.cpu_s,
            *("read", str(services)),
        )

    _table(context, "HTTP: the instances of a service, 64 connections", "reads/s", subjects, window)


def _readable(subject: Subject) -> int:
    """Registers for a second: how many services of three are surely whole then."""
    connections = 16
    window = wrk.run(subject.port, subject.put, connections, 1.0, subject.server.cpu_s, "read")
    return max(1, min(READ_SERVICES_MAX, (window.requests - connections) // 3))


def _table(
    context: Context,
    title: str,
    unit: str,
    subjects: list[Subject],
    window: Callable[[Subject], Callable[[], wrk.Window]],
) -> Table:
    context.say(title)
    measured = interleaved(context, {one.name: window(one) for one in subjects})
    usages = {name: [one.usage for one in seen] for name, seen in measured.items()}
    check_usage(context, title, usages)
    series = [
        series_of(context, title, one.name, measured[one.name], ours=one.name == OURS)
        for one in subjects
    ]
    table = Table(title, unit, "more", series, baseline=ETCD_V2)
    context.outcome.tables.append(table)
    return table


def series_of(
    context: Context,
    title: str,
    label: str,
    windows: list[wrk.Window],
    *,
    each: int = 1,
    ours: bool = True,
) -> Series:
    """`each` is how many registrations or renewals one request carries."""
    for window in windows:
        if window.errors:
            context.doubt(f"{label} ({title}): {window.errors} errors of {window.requests}")
    middle = sorted(windows, key=lambda window: window.rate)[len(windows) // 2]
    notes = {
        "p50 ms": f"{middle.p50_ms:.2f}",
        "p99 ms": f"{middle.p99_ms:.2f}",
        "CPU µs each": f"{middle.usage.server_s / max(middle.requests * each, 1) * 1e6:.1f}",
        **shares(middle.usage),
    }
    return Series(label, tuple(window.rate * each for window in windows), notes, ours)


def _batches(context: Context, board: Board, windows: Iterator[str]) -> None:
    """What was answered is compared with what is registered: a refused operation must show."""
    title = f"HTTP: registrations in batches of {BATCH}"
    context.say(title)
    before = board.status()["instances"]
    every: list[wrk.Window] = []

    def window() -> wrk.Window:
        arguments = next(windows), str(BATCH)
        every.append(
            wrk.run(
                board.http_port,
                "batch",
                BATCH_CONNECTIONS,
                context.seconds,
                board.server.cpu_s,
                *arguments,
            )
        )
        return every[-1]

    measured = interleaved(context, {OURS: window})
    check_usage(context, title, {OURS: [one.usage for one in measured[OURS]]})
    series = series_of(context, title, OURS, measured[OURS], each=BATCH)
    answered = sum(one.requests for one in every) * BATCH
    registered = board.status()["instances"] - before
    if registered < answered:
        context.doubt(f"batches: {answered:,} answered, only {registered:,} registered")
    context.outcome.tables.append(Table(title, "registrations/s", "more", [series]))
    context.outcome.figures.append(
        at_least(
            f"registrations in batches of {BATCH}",
            f"≥ {BATCHED_MIN:,}/s",
            series.median,
            BATCHED_MIN,
            "/s",
        )
    )
