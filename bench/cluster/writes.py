"""Replicated, synced registrations: our calls beside etcd's puts through its own gateway."""

from collections.abc import Callable
from itertools import count

from .. import wrk
from ..context import Context
from ..rounds import check_usage, interleaved
from ..samples import Figure, Series, Table, at_least, at_most
from ..suites.http import series_of
from ..usage import Meter
from ..writer import writing
from .nodes import EtcdTrio, Nodes

CONNECTIONS = 16
"""To each of the three, all at once."""
BATCH = 100
BATCH_CONNECTIONS = 2
BATCHED_MIN = 4_000
BATCH_RATIO_MIN = 0.8
LATENCY_RATIO_MAX = 1.5
LATENCY_WINDOW_S_MIN = 5.0
OURS, ETCD = "callboard, three nodes", "etcd, three members, v3 JSON gateway"

_windows = map("c{}x".format, count())


def measure(context: Context, nodes: Nodes, etcd: EtcdTrio | None) -> None:
    singles = _spread(context, nodes, etcd, "single registrations", CONNECTIONS, "put", "v3_put")
    context.outcome.figures.append(
        at_least(
            "replicated, synced registrations, single calls spread over the nodes",
            "≥ 1.0 x etcd's puts",
            singles.ratio(OURS),
            1.0,
            " x etcd's",
        )
    )
    batches = _spread(
        context, nodes, etcd, f"batches of {BATCH}", BATCH_CONNECTIONS, "batch", "v3_txn", BATCH
    )
    ours = batches.of(OURS)
    assert ours is not None
    context.outcome.figures += [
        at_least(
            f"replicated registrations in batches of {BATCH}",
            f"≥ {BATCHED_MIN:,}/s",
            ours.median,
            BATCHED_MIN,
            "/s",
        ),
        at_least(
            f"replicated registrations in batches of {BATCH}",
            f"≥ {BATCH_RATIO_MIN} x etcd's transactions of {BATCH}",
            batches.ratio(OURS),
            BATCH_RATIO_MIN,
            " x etcd's",
        ),
    ]
    rate = min(one.median for one in singles.series) / 10
    context.outcome.figures += _latencies(context, nodes, etcd, rate)


def _spread(
    context: Context,
    nodes: Nodes,
    etcd: EtcdTrio | None,
    what: str,
    connections: int,
    ours: str,
    theirs: str,
    each: int = 1,
) -> Table:
    title = f"Cluster: {what}, {connections} connections to each of three"
    context.say(title)
    subjects: dict[str, tuple[list[int], str, Callable[[], float]]] = {
        OURS: (nodes.http_ports, ours, nodes.cpu_s)
    }
    if etcd is not None:
        subjects[ETCD] = etcd.ports, f"etcd_{theirs}", etcd.cpu_s

    def window(name: str) -> Callable[[], wrk.Window]:
        ports, script, cpu_s = subjects[name]
        return lambda: wrk.run_spread(
            {port: (next(_windows), str(each)) for port in ports},
            script,
            connections,
            context.seconds,
            cpu_s,
            together=True,
        )

    measured = interleaved(context, {name: window(name) for name in subjects})
    usages = {name: [one.usage for one in seen] for name, seen in measured.items()}
    check_usage(context, title, usages)
    series = [
        series_of(context, title, name, measured[name], each=each, ours=name == OURS)
        for name in subjects
    ]
    table = Table(title, "registrations/s", "more", series, baseline=ETCD)
    context.outcome.tables.append(table)
    return table


class _Steady:
    """Latencies of one window at a steady rate."""

    def __init__(self, p50_ms: float, p99_ms: float, disturbance: float) -> None:
        self.p50_ms, self.p99_ms, self.disturbance = p50_ms, p99_ms, disturbance


def _latencies(context: Context, nodes: Nodes, etcd: EtcdTrio | None, rate: float) -> list[Figure]:
    title = f"Cluster: latency of single registrations at a steady {rate:,.0f}/s"
    context.say(title)
    subjects = {OURS: ("put", nodes.http_ports, nodes.cpu_s)}
    if etcd is not None:
        subjects[ETCD] = "etcd_put", etcd.ports, etcd.cpu_s
    seconds = max(context.seconds, LATENCY_WINDOW_S_MIN)

    def window(name: str) -> Callable[[], _Steady]:
        kind, ports, cpu_s = subjects[name]

        def run() -> _Steady:
            meter = Meter(cpu_s, together=True)
            with writing(ports, kind, "others", rate) as said:
                context.wait(seconds)
            if said["rate"] < 0.95 * rate or said["errors"]:
                context.doubt(f"{title}: {name}: {said['rate']:.0f}/s, {said['errors']} errors")
            return _Steady(said["p50_ms"], said["p99_ms"], meter.usage().disturbance)

        return run

    measured = interleaved(context, {name: window(name) for name in subjects})
    figures = []
    for quantile in ("p50", "p99"):
        series = [
            Series(
                name,
                tuple(getattr(one, f"{quantile}_ms") for one in measured[name]),
                ours=name == OURS,
            )
            for name in subjects
        ]
        table = Table(f"{title}, {quantile}", "ms", "less", series, baseline=ETCD)
        context.outcome.tables.append(table)
        figures.append(
            at_most(
                f"latency of a replicated write at a tenth of the load, {quantile}",
                f"≤ {LATENCY_RATIO_MAX} x etcd's",
                table.ratio(OURS),
                LATENCY_RATIO_MAX,
                " x etcd's",
            )
        )
    return figures
