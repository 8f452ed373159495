"""What the DNS front counts, as Prometheus reads it."""

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric

from .dns import DnsStats
from .dns.latency import BOUNDS_S, SUM, Latencies

WORKER_GAUGES = {
    "index": "The registry's index that the worker answers from.",
    "instances": "Instances in the worker's copy.",
    "rss_bytes": "The worker's resident memory.",
    "copy_age_seconds": "How long ago the worker's copy was known to be complete.",
    "ready": "1 while the worker answers.",
}


def dns_metrics(stats: DnsStats) -> Iterator[Metric]:
    """Metrics of all workers, as of their last reports."""
    queries = CounterMetricFamily(
        "callboard_dns_queries",
        "Answered queries; `path` is slow if the packet had to be parsed, else fast.",
        labels=("transport", "path", "type", "rcode"),
    )
    for kind, count in stats.queries.items():
        queries.add_metric([str(part) for part in kind], count)
    yield queries
    events = CounterMetricFamily(
        "callboard_dns_events", "What else happened to queries.", labels=("event",)
    )
    for event, count in stats.events.items():
        events.add_metric([event], count)
    yield events
    yield _latencies(stats.latencies)
    restarts = CounterMetricFamily(
        "callboard_dns_worker_restarts", "Workers that had to be started again.", labels=("worker",)
    )
    for number, worker in enumerate(stats.workers):
        restarts.add_metric([str(number)], worker.restarts)
    yield restarts
    for name, text in WORKER_GAUGES.items():
        gauge = GaugeMetricFamily(f"callboard_dns_worker_{name}", text, labels=("worker",))
        for number, worker in enumerate(stats.workers):
            gauge.add_metric([str(number)], float(getattr(worker, name.replace("_seconds", "_s"))))
        yield gauge


def _latencies(latencies: Latencies) -> Metric:
    family = HistogramMetricFamily(
        "callboard_dns_latency_seconds",
        "Time a query takes in the worker (`udp`, `tcp`: with its batch), or upstream.",
        labels=("path",),
    )
    for path in sorted({path for path, _ in latencies}):
        buckets, count = [], 0
        for at, bound in enumerate((*BOUNDS_S, "+Inf")):
            count += latencies[path, at]
            buckets.append((str(bound), count))
        family.add_metric([path], buckets, latencies[path, SUM] / 1e9)
    return family
