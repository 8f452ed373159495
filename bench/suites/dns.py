"""A thousand names of three records over UDP: callboard beside the C servers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import dnsperf
from ..board import services
from ..context import Context
from ..dns_peers import DNS_PEERS, DnsPeer, answers, dns_peer, wait_until_it_answers
from ..names import NAMES_ASKED, asked, owner, write_queries
from ..processes import DidNotStart, Missing
from ..rounds import check_usage, interleaved, shares
from ..samples import Series, Table, at_most
from ..wire import SRV, A, Shape, ask, query, shape

KNOT_RATIO_MAX = 1.4
GENTLE_QPS = 10_000
"""A busy site's load, far from saturation: here a server that batches has little to batch."""
OURS = "callboard"


@dataclass(frozen=True)
class Load:
    title: str
    qtype: int
    edns: bool
    queries: Path
    options: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    name: str
    port: int
    cpu_s: Callable[[], float]
    rss_bytes: Callable[[], int]


def run(context: Context) -> None:
    subjects = [_callboard(context), *_peers(context)]
    plain = write_queries(context.work_dir / "a", asked())
    srv = write_queries(context.work_dir / "srv", asked(), "SRV")
    gentle = f"A, held at {GENTLE_QPS:,} queries/s"
    loads = [
        Load("A, three records", A, False, plain, ()),
        Load("A, three records, EDNS", A, True, plain, ("-e",)),
        Load("SRV, three records and their addresses", SRV, False, srv, ()),
        Load(gentle, A, False, plain, ("-Q", str(GENTLE_QPS))),
    ]
    for load in loads:
        _measure(context, load, subjects)
    ratio = context.outcome.tables[0].ratio(OURS, "Knot")
    context.outcome.figures.append(
        at_most(
            f"DNS, {NAMES_ASKED:,} names of three A records, CPU per query",
            f"≤ {KNOT_RATIO_MAX} x Knot's",
            ratio,
            KNOT_RATIO_MAX,
            " x Knot's",
        )
    )


def _callboard(context: Context) -> Subject:
    board = context.board("dns")
    board.fill(services(0, NAMES_ASKED))
    board.server.wait_until(lambda: answers(board.dns_port, owner(NAMES_ASKED - 1)))
    return Subject(OURS, board.dns_port, board.server.cpu_s, board.worker_rss_bytes)


def _peers(context: Context) -> list[Subject]:
    subjects = []
    for name in DNS_PEERS:
        try:
            peer = _started(context, dns_peer(name, context.work_dir / name))
        except Missing as missing:
            context.outcome.missing.append(f"{name} ({missing} is not installed)")
        except DidNotStart as error:
            context.outcome.missing.append(f"{name} (did not start: {error})")
        else:
            server = peer.server
            subjects.append(Subject(name, peer.port, server.cpu_s, server.rss_bytes))
            if not server.is_pinned():
                context.doubt(f"{name} is not pinned to the server's core")
    return subjects


def _started(context: Context, peer: DnsPeer) -> DnsPeer:
    context.stack.enter_context(peer.server)
    wait_until_it_answers(peer)
    return peer


def _measure(context: Context, load: Load, subjects: list[Subject]) -> None:
    context.say(load.title)

    def window(subject: Subject) -> Callable[[], dnsperf.Window]:
        return lambda: dnsperf.run(
            subject.port, load.queries, context.seconds, subject.cpu_s, *load.options
        )

    measured = interleaved(context, {one.name: window(one) for one in subjects})
    usages = {name: [one.usage for one in windows] for name, windows in measured.items()}
    check_usage(context, load.title, usages)
    series = [_series(context, load, one, measured[one.name]) for one in subjects]
    context.outcome.tables.append(
        Table(f"DNS: {load.title}", "µs CPU per query", "less", series, baseline="Knot")
    )


def _series(
    context: Context, load: Load, subject: Subject, windows: list[dnsperf.Window]
) -> Series:
    for window in windows:
        if window.lost or set(window.rcodes) != {"NOERROR"}:
            context.doubt(f"{subject.name}: {window.lost} lost, {window.rcodes} ({load.title})")
    middle = sorted(windows, key=lambda window: window.qps)[len(windows) // 2]
    return Series(
        subject.name,
        tuple(window.cpu_us_per_query for window in windows),
        {
            "queries/s": f"{middle.qps:,.0f}",
            "latency µs": f"{middle.latency_us:.0f}",
            **shares(middle.usage),
            "RSS MiB": f"{subject.rss_bytes() / 2**20:.0f}",
            "answer": _answer(subject.port, load),
        },
        ours=subject.name == OURS,
    )


def _answer(port: int, load: Load) -> str:
    """Records in answer, authority and additional section, and bytes."""
    answer = ask(port, query(owner(0), load.qtype, load.edns), timeout_s=1)
    if answer is None:
        return "none"
    seen: Shape = shape(answer)
    return f"{seen.answers}+{seen.authority}+{seen.additional}, {seen.size_bytes} B"
