"""What Prometheus reads: counted with plain dicts, turned into metrics when somebody asks."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from .. import __version__
from ..registry import Registry

BUCKETS_NS: Final = tuple(
    round(1e6 * ms) for ms in (0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000, 5000)
)
UNKNOWN_ROUTE: Final = "unknown"
"""Paths that are none of ours share a label: anybody can make up new ones."""
METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"})


class _Calls(NamedTuple):
    """All calls of one method, route and status."""

    buckets: list[int]
    total_ns: list[int]


class Metrics:
    """Counts calls; other parts add what they know with `add`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._calls: dict[tuple[str, str, int], _Calls] = {}
        self._sources: list[Callable[[], Iterable[Metric]]] = [self._registry_metrics]
        self._collected = CollectorRegistry(auto_describe=False)
        self._collected.register(self)
        ProcessCollector(registry=self._collected)
        PlatformCollector(registry=self._collected)
        GCCollector(registry=self._collected)

    def add(self, source: Callable[[], Iterable[Metric]]) -> None:
        """`source` is asked at every scrape."""
        self._sources.append(source)

    def count(self, method: str, route: str, status: int, duration_ns: int) -> None:
        """One answered call."""
        key = (method, route, status)
        calls = self._calls.get(key)
        if calls is None:
            known = method if method in METHODS else "other", route or UNKNOWN_ROUTE, status
            calls = self._calls.setdefault(known, _Calls([0] * (len(BUCKETS_NS) + 1), [0]))
        calls.buckets[bisect_left(BUCKETS_NS, duration_ns)] += 1
        calls.total_ns[0] += duration_ns

    def text(self) -> bytes:
        return generate_latest(self._collected)

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client."""
        yield self._call_metrics()
        for source in self._sources:
            yield from source()

    def _call_metrics(self) -> Metric:
        durations = HistogramMetricFamily(
            "callboard_http_request_duration_seconds",
            "Answered HTTP calls and how long they took.",
            labels=("method", "route", "status"),
        )
        bounds = [str(bound_ns / 1e9) for bound_ns in BUCKETS_NS] + ["+Inf"]
        for (method, route, status), calls in self._calls.items():
            durations.add_metric(
                (method, route, str(status)),
                list(zip(bounds, accumulate(calls.buckets), strict=True)),
                sum_value=calls.total_ns[0] / 1e9,
            )
        return durations

    def _registry_metrics(self) -> Iterator[Metric]:
        info = GaugeMetricFamily(
            "callboard_build_info", "1, labelled with what runs.", labels=("version", "engine")
        )
        info.add_metric((__version__, self._registry.engine_status().kind), 1)
        yield info
        for name, (text, value) in self._gauges().items():
            yield GaugeMetricFamily(f"callboard_{name}", text, value=value)
        for name, (text, count) in self._counters().items():
            yield CounterMetricFamily(f"callboard_{name}", text, value=count)

    def _gauges(self) -> dict[str, tuple[str, float]]:
        registry, engine = self._registry, self._registry.engine_status()
        return {
            "registry_index": ("The engine's revision that this node shows.", registry.index),
            "registry_services": ("Services on the board.", registry.service_count),
            "registry_instances": ("Instances on the board.", registry.instance_count),
            "registry_leases": ("Leases kept by this node.", registry.lease_count),
            "registry_keeper": (
                "1 on the node that keeps the leases.",
                int(registry.keeps_leases),
            ),
            "registry_leases_held_back": (
                "Silent leases that the mass-expiry guard holds back.",
                registry.held_back,
            ),
            "kv_keys": ("Keys in the KV store.", registry.kv_count),
            "engine_writable": ("1 while the engine takes writes.", int(engine.writable)),
            "engine_staleness_seconds": (
                "Time since the engine was last heard from.",
                engine.staleness_ms / 1000,
            ),
        }

    def _counters(self) -> dict[str, tuple[str, int]]:
        registry = self._registry
        return {
            "registry_leases_expired": (
                "Leases that ran out and were taken off by this node.",
                registry.expired_total,
            ),
            "registry_expiries_held_back": (
                "Expiries that the mass-expiry guard has held back.",
                registry.held_back_total,
            ),
            "registry_renewals_passed": (
                "Renewals that the keeper, another node, was told of.",
                registry.renewals.passed_total,
            ),
            "registry_renewals_through_engine": (
                "Those of them that went through the engine.",
                registry.renewals.beside_total,
            ),
        }
