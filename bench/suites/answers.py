"""Callboard's DNS alone: many instances, registrations in between, awkward names, large sets."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .. import dnsperf
from ..board import Board, register, services
from ..context import Context
from ..dns_peers import answers
from ..names import (
    NAMES_ASKED,
    RECORDS_PER_NAME,
    ZONE,
    asked,
    owner,
    random_case,
    unknown,
    write_queries,
)
from ..processes import cpu_s
from ..rounds import check_usage, interleaved, shares
from ..samples import Figure, Series, Table, at_most
from ..usage import FOREIGN_SHARE_MAX
from ..writer import BATCH, writing

WORSE_MAX = 1.10
WRITES_PER_S = 1000
LARGE_INSTANCES = 1_000_000
QUICK_INSTANCES = 30_000
UNKNOWN_NAMES = 100_000
CROWD = 1000
"""Instances of one service: an answer of 16 KB, whole only over TCP."""
REST = "3,000 instances, at rest"
HELD_QPS = 50_000
"""A rate that holds with and without writes. At its peak, a worker that shares its core with the
node gets fewer packets by each system call; the same rate shows what a change itself costs."""
HELD = f"3,000 instances, held at {HELD_QPS:,} queries/s, at rest"


@dataclass(frozen=True)
class Case:
    label: str
    board: Board
    queries: Path
    options: tuple[str, ...] = ()
    writes: tuple[str, str] | None = None
    rcode: str = "NOERROR"


@dataclass(frozen=True)
class Seen:
    """One window; `written` is what the writer said, empty without one."""

    window: dnsperf.Window
    rss_bytes: int
    written: dict[str, float]

    @property
    def disturbance(self) -> float:
        """The writer uses the load's core, as it should: then only the server's core counts."""
        usage = self.window.usage
        if not self.written:
            return usage.disturbance
        return max(0.0, usage.foreign_server_share - FOREIGN_SHARE_MAX)


def run(context: Context) -> None:
    instances = QUICK_INSTANCES if context.quick else LARGE_INSTANCES
    small, large = context.board("small"), context.board("large")
    context.say(f"filling {instances:,} instances")
    for board, count in ((small, NAMES_ASKED), (large, instances // RECORDS_PER_NAME)):
        board.fill(services(0, count))
        last = owner(count - 1)
        board.server.wait_until(partial(answers, board.dns_port, last))
    small.fill(register("crowd", n, f"10.99.{n >> 8}.{n & 255}") for n in range(CROWD))
    cases = _cases(context.work_dir, small, large, instances)
    _first_sight(context, large, instances)
    measured = interleaved(context, {case.label: window_of(context, case) for case in cases})
    series = [series_of(context, case, measured[case.label]) for case in cases]
    table = Table(
        "DNS worker alone", "µs CPU of the worker per query", "less", series, baseline=REST
    )
    context.outcome.tables.append(table)
    context.outcome.figures += _figures(table, instances)


def _cases(work_dir: Path, small: Board, large: Board, instances: int) -> list[Case]:
    same = write_queries(work_dir / "asked", asked())
    everything = write_queries(
        work_dir / "everything", map(owner, range(instances // RECORDS_PER_NAME))
    )
    case = write_queries(work_dir / "case", random_case())
    nobody = write_queries(work_dir / "nobody", unknown(UNKNOWN_NAMES))
    crowd = write_queries(work_dir / "crowd", iter([f"crowd.service.{ZONE}"]))
    many = f"{instances:,} instances"
    return [
        Case(REST, small, same),
        Case(f"{many}, the same names", large, same),
        Case(f"{many}, all names at random", large, everything),
        *(
            Case(_written(kind, whose, many), board, same, writes=(kind, whose))
            for board, many in ((small, "3,000"), (large, f"{instances:,}"))
            for kind in ("put", "batch")
            for whose in ("others", "asked")
        ),
        Case(HELD, small, same, options=("-Q", str(HELD_QPS))),
        *(
            Case(
                _held("put", whose),
                small,
                same,
                options=("-Q", str(HELD_QPS)),
                writes=("put", whose),
            )
            for whose in ("others", "asked")
        ),
        Case("random letter case", small, case),
        Case(f"{UNKNOWN_NAMES:,} unknown names", small, nobody, rcode="NXDOMAIN"),
        Case(f"{CROWD:,} records, over TCP", small, crowd, options=("-m", "tcp")),
    ]


def _written(kind: str, whose: str, instances: str) -> str:
    how = "single" if kind == "put" else f"batches of {BATCH}"
    of = "other names" if whose == "others" else "the names asked"
    return f"{instances}, {WRITES_PER_S:,} registrations/s ({how}, {of})"


def _held(kind: str, whose: str) -> str:
    return f"{_written(kind, whose, '3,000')}, held at {HELD_QPS:,} queries/s"


def worker_cpu_s(board: Board) -> Callable[[], float]:
    """The CPU clock of the board's DNS workers."""
    workers = board.dns_workers()
    assert workers, "a node that answers has a DNS worker"
    return lambda: sum(map(cpu_s, workers))


def window_of(context: Context, case: Case) -> Callable[[], Seen]:
    """What measures one window of the case."""
    clock = worker_cpu_s(case.board)

    def measure() -> Seen:
        with contextlib.ExitStack() as stack:
            written: dict[str, float] = {}
            if case.writes:
                load = writing([case.board.http_port], *case.writes, WRITES_PER_S)
                written = stack.enter_context(load)
            window = dnsperf.run(
                case.board.dns_port,
                case.queries,
                context.seconds,
                clock,
                *case.options,
                server=case.board.server.cpu_s,
            )
        return Seen(window, case.board.worker_rss_bytes(), written)

    return measure


def _first_sight(context: Context, large: Board, instances: int) -> None:
    """Every name once, none of them compiled yet, by as few queries as there are names."""
    clock = worker_cpu_s(large)
    before = large.worker_rss_bytes()
    window = dnsperf.run(large.dns_port, context.work_dir / "everything", 120, clock, "-n", "1")
    grown = large.worker_rss_bytes() - before
    notes = {
        "queries/s": f"{window.qps:,.0f}",
        "worker grew": f"{grown / instances:.0f} B an instance",
    }
    values = (window.cpu_us_per_query,)
    context.outcome.tables.append(
        Table(
            "DNS worker alone: first sight of a name",
            "µs CPU of the worker per query",
            "less",
            [Series(f"each of {instances // RECORDS_PER_NAME:,} names once", values, notes, True)],
        )
    )


def series_of(context: Context, case: Case, seen: list[Seen]) -> Series:
    """A row of the CPU times per query, and the doubts."""
    if not case.writes:  # else the registry process and the writer are at work, as they should
        check_usage(context, case.label, {"it": [one.window.usage for one in seen]})
    for one in seen:
        window = one.window
        if window.lost or set(window.rcodes) != {case.rcode}:
            context.doubt(f"{case.label}: {window.lost} lost, {window.rcodes}")
        if one.written and (one.written["rate"] < 0.95 * WRITES_PER_S or one.written["errors"]):
            context.doubt(
                f"{case.label}: {one.written['rate']:.0f} registrations/s, "
                f"{one.written['errors']:.0f} refused"
            )
    middle = sorted(seen, key=lambda one: one.window.qps)[len(seen) // 2]
    notes = {
        "queries/s": f"{middle.window.qps:,.0f}",
        "answer B": f"{middle.window.response_bytes:,}",
        "worker": f"{middle.window.cpu_s / middle.window.seconds:.0%} of its core",
        **shares(middle.window.usage),
        "worker RSS MiB": f"{middle.rss_bytes / 2**20:.0f}",
    }
    if middle.written:
        notes["written/s"] = f"{middle.written['rate']:,.0f}"
        notes["write p99 ms"] = f"{middle.written['p99_ms']:.1f}"
    return Series(case.label, tuple(one.window.cpu_us_per_query for one in seen), notes, ours=True)


def _figures(table: Table, instances: int) -> list[Figure]:
    goal = "≤ 10 % worse than at rest with 3,000"
    during = f"DNS, the same during {WRITES_PER_S:,} registrations/s"
    wanted = [
        (
            f"DNS, the same at {instances:,} instances",
            f"{instances:,} instances, the same names",
            REST,
        )
    ]
    for whose, names in (("others", "other names"), ("asked", "names asked")):
        peak = f"{during} (single, {names}), each at its peak"
        held = f"{during} (single, {names}), both at {HELD_QPS:,} queries/s"
        wanted += [(peak, _written("put", whose, "3,000"), REST), (held, _held("put", whose), HELD)]
    return [
        at_most(what, goal, table.ratio(label, to), WORSE_MAX, " x as at rest")
        for what, label, to in wanted
    ]
