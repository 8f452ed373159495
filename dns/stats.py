"""What the DNS front says of itself, for `/metrics` and `/v1/status`."""

from collections import Counter
from dataclasses import dataclass, field

from .counters import QueryKind
from .latency import Latencies


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One worker as of its last report, about a second ago. `restarts` counts its successors."""

    pid: int
    ready: bool
    restarts: int
    index: int
    services: int
    instances: int
    rss_bytes: int
    copy_age_s: float
    """How long ago the worker's copy was known to be complete."""


@dataclass(frozen=True, slots=True)
class DnsStats:
    """All workers together. Counts only grow, also when a worker is replaced.

    `events` are the keys of `counters.Counters.events`, and `truncated`.
    """

    workers: tuple[WorkerStats, ...]
    queries: Counter[QueryKind] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Counter)
