"""What attacks, growth and change do to the DNS front; its tail beside Knot's; two workers."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .. import dnsperf
from ..board import Board, register, services
from ..context import Context
from ..dns_peers import DnsPeer, answers, dns_peer, wait_until_it_answers
from ..latency import latencies_us, percentile
from ..names import (
    NAMES_ASKED,
    ZONE,
    asked,
    crowds,
    every,
    owner,
    random_case,
    random_subdomains,
    unknown,
    write_queries,
)
from ..processes import LOAD_CORE, SERVER_CORE, DidNotStart, Missing
from ..samples import Series, Table, at_least, at_most
from .answers import Case, series_of, window_of, worker_cpu_s

P99_RATIO_MAX = 1.5
WORKERS_RATIO_MIN = 1.7
WORST_RATIO_MAX = 1.5
GROWN_MIB_MAX = 16
"""What a flood of names that do not exist may add to a worker: its bounded caches, no more."""
SERVICES, QUICK_SERVICES = 1_000_000, 30_000
CROWDS, CROWD = 20, 1000
UNKNOWN_NAMES = 200_000
OURS = "callboard"
BEST = "1,000 names of three records"


def run(context: Context) -> None:
    small = context.board("front")
    _fill(small, services(0, NAMES_ASKED), owner(NAMES_ASKED - 1))
    _tail(context, small)
    _two_workers(context, small)
    _worst_cases(context, small)


def _fill(board: Board, operations: Iterator[dict[str, Any]], last: str) -> None:
    board.fill(operations)
    board.server.wait_until(partial(answers, board.dns_port, last))


def _tail(context: Context, board: Board) -> None:
    """Latency at half of the peak: of ours for both, so that both do the same work."""
    context.say("latency at half of the peak rate")
    queries = write_queries(context.work_dir / "tail", asked())
    ports = {OURS: board.dns_port}
    if (knot := _knot(context)) is not None:
        ports["Knot"] = knot.port
    clock = worker_cpu_s(board)
    peak = dnsperf.run(board.dns_port, queries, context.seconds, clock).qps
    seen: dict[str, list[list[float]]] = {name: [] for name in ports}
    for _ in range(context.rounds):
        for name, port in ports.items():
            seen[name].append(latencies_us(port, queries, context.seconds, peak / 2))
    rows = [_tail_row(name, windows) for name, windows in seen.items()]
    title = f"DNS: latency at {peak / 2:,.0f} queries/s, half of callboard's peak"
    table = Table(title, "µs, 99 of 100 are quicker", "less", rows, baseline="Knot")
    context.outcome.tables.append(table)
    context.outcome.figures.append(
        at_most(
            "DNS, p99 latency at half of the peak rate",
            f"≤ {P99_RATIO_MAX} x Knot's",
            table.ratio(OURS, "Knot"),
            P99_RATIO_MAX,
            " x Knot's",
        )
    )


def _tail_row(name: str, windows: list[list[float]]) -> Series:
    middle = windows[len(windows) // 2]
    notes = {
        "median µs": f"{percentile(middle, 0.5):.0f}",
        "99.9 % µs": f"{percentile(middle, 0.999):.0f}",
    }
    values = tuple(percentile(window, 0.99) for window in windows)
    return Series(name, values, notes, ours=name == OURS)


def _knot(context: Context) -> DnsPeer | None:
    try:
        peer = dns_peer("Knot", context.work_dir / "knot")
        context.stack.enter_context(peer.server)
        wait_until_it_answers(peer)
    except (Missing, DidNotStart) as error:
        context.outcome.missing.append(f"Knot ({error})")
        return None
    return peer


_FOR_TWO = ("-c32", "-q400")
"""Many sockets, so that the kernel's hash gives each worker its share; and enough queries on the
way that half of them fill a worker's batch too: dnsperf's own 100 do not."""


def _two_workers(context: Context, one: Board) -> None:
    """On one core by CPU per query; and on two cores, which on a small machine the load shares."""
    context.say("two workers beside one")
    two = context.stack.enter_context(Board(context.work_dir, "two", "--dns-workers", "2"))
    _fill(two, services(0, NAMES_ASKED), owner(NAMES_ASKED - 1))
    queries = write_queries(context.work_dir / "workers", asked())
    boards = {"one worker": one, "two workers": two}
    cpu: dict[str, list[float]] = {label: [] for label in boards}
    rates: dict[str, list[float]] = {label: [] for label in boards}
    for cores, into in (((SERVER_CORE,), cpu), ((SERVER_CORE, LOAD_CORE), rates)):
        for board in boards.values():
            _spread(board, cores)
        for _ in range(context.rounds):
            for label, board in boards.items():
                window = dnsperf.run(
                    board.dns_port, queries, context.seconds, worker_cpu_s(board), *_FOR_TWO
                )
                value = window.cpu_us_per_query if into is cpu else window.qps
                into[label].append(value)
    _spread(one, (SERVER_CORE,))
    two.server.stop()
    _tables_of_workers(context, cpu, rates)


def _spread(board: Board, cores: tuple[int, ...]) -> None:
    for number, pid in enumerate(board.dns_workers()):
        os.sched_setaffinity(pid, {cores[number % len(cores)]})


def _tables_of_workers(
    context: Context, cpu: dict[str, list[float]], rates: dict[str, list[float]]
) -> None:
    def table(title: str, unit: str, values: dict[str, list[float]], more: bool) -> Table:
        rows = [Series(label, tuple(ours), {}, True) for label, ours in values.items()]
        better = "more" if more else "less"
        return Table(title, unit, better, rows, baseline="one worker")

    work = table("DNS: workers that share a core", "µs CPU of all workers per query", cpu, False)
    rate = table("DNS: workers on cores of their own", "queries/s", rates, True)
    if (os.cpu_count() or 1) <= len({SERVER_CORE, LOAD_CORE}):
        rate.note = "The second worker and the load share a core: no measure of two workers."
    context.outcome.tables += [work, rate]
    ratio = work.ratio("two workers")
    context.outcome.figures.append(
        at_least(
            "DNS, two workers beside one, by the CPU time of a query",
            f"≥ {WORKERS_RATIO_MIN} x the queries",
            2 / ratio if ratio else None,
            WORKERS_RATIO_MIN,
            " x",
        )
    )


def _worst_cases(context: Context, small: Board) -> None:
    many = QUICK_SERVICES if context.quick else SERVICES
    context.say(f"filling {many:,} services, and {CROWDS} of {CROWD:,} instances")
    large, crowded = context.board("large"), context.board("crowded")
    _fill(large, services(0, many, of=1), owner(many - 1))
    last = f"crowd{CROWDS - 1:02d}"
    _fill(crowded, _crowds(), f"{last}-{CROWD - 1}.{last}.instance.{ZONE}")
    cases = _cases(context, small, large, crowded, many)
    context.say("worst cases")
    before = small.worker_rss_bytes()
    seen = {case.label: window_of(context, case) for case in cases}
    rows = [_row(context, case, seen[case.label]) for case in cases]
    grown_mib = (small.worker_rss_bytes() - before) / 2**20
    table = Table("DNS: worst cases", "µs CPU of the worker per query", "less", rows, baseline=BEST)
    context.outcome.tables.append(table)
    context.outcome.figures += [
        at_most(
            f"DNS, {case.label}",
            f"≤ {WORST_RATIO_MAX} x {BEST}",
            table.ratio(case.label),
            WORST_RATIO_MAX,
            " x",
        )
        for case in cases[1:]
    ]
    context.outcome.figures.append(
        at_most(
            "DNS, what all these add to the worker's memory",
            f"≤ {GROWN_MIB_MAX} MiB",
            max(grown_mib, 0.0),
            GROWN_MIB_MAX,
            " MiB",
        )
    )


def _row(context: Context, case: Case, measure: Callable[[], Any]) -> Series:
    """One after the other and not in turn: an attack's traces must not slow the others' case."""
    if not context.quick:
        measure()
    return series_of(context, case, [measure() for _ in range(context.rounds)])


def _crowds() -> Iterator[dict[str, Any]]:
    for number in range(CROWDS):
        for n in range(CROWD):
            yield register(f"crowd{number:02d}", n, f"10.{number}.{n >> 8}.{n & 255}")


def _cases(context: Context, small: Board, large: Board, crowded: Board, many: int) -> list[Case]:
    def queries(name: str, names: Iterator[str], qtype: str = "A") -> Any:
        return write_queries(context.work_dir / name, names, qtype)

    same = queries("same", asked())
    crowd = queries("crowds", crowds(CROWDS))
    crowd_srv = queries("crowds-srv", crowds(CROWDS), "SRV")
    nobody = queries("nobody", unknown(UNKNOWN_NAMES))
    random_names = queries("random", random_subdomains(UNKNOWN_NAMES))
    return [
        Case(BEST, small, same),
        Case("random letter case", small, queries("case", random_case())),
        Case("unknown names of one length", small, nobody, rcode="NXDOMAIN"),
        Case("random subdomains of any length", small, random_names, rcode="NXDOMAIN"),
        Case(f"{many:,} services, 1,000 names", large, same),
        Case(f"{many:,} services, all at random", large, queries("every", every(many))),
        Case(f"services of {CROWD:,}, A over UDP", crowded, crowd),
        Case(f"services of {CROWD:,}, SRV over UDP with EDNS", crowded, crowd_srv, ("-e",)),
        Case("the names asked change 1,000 times a second", small, same, writes=("put", "asked")),
    ]
