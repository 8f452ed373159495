"""What a worker counts, cheaply enough for the fast path, and how it reads outside."""

from collections import Counter
from typing import Final, NamedTuple

from .latency import FORWARDED, TCP, UDP, Histogram, Latencies
from .wire import RCODE_NAMES, TYPE_NAMES

_RCODE_BITS: Final = 5
_TRUNCATED: Final = 1 << _RCODE_BITS
_QTYPE_SHIFT: Final = _RCODE_BITS + 1


class QueryKind(NamedTuple):
    """The labels of one counter of queries. Types that are not known by name are "other"."""

    transport: str
    path: str
    qtype: str
    rcode: str


def kind_of(qtype: int, rcode: int, truncated: bool = False) -> int:
    """A small number for all that is counted of a reply: kept beside it, so that the fast path
    counts numbers, and what they mean is worked out when somebody wants to know."""
    kind = (qtype if qtype in TYPE_NAMES else 0) << _QTYPE_SHIFT | rcode
    return kind | _TRUNCATED if truncated else kind


class Counters:
    """Numbers that only grow, for the life of the worker."""

    def __init__(self) -> None:
        self.udp_fast: Counter[int] = Counter()
        self.udp_slow: Counter[int] = Counter()
        self.tcp_fast: Counter[int] = Counter()
        self.tcp_slow: Counter[int] = Counter()
        self.udp_latency = Histogram(UDP)
        self.tcp_latency = Histogram(TCP)
        self.forward_latency = Histogram(FORWARDED)
        self.events: Counter[str] = Counter()
        """`dropped` (no reply by rule), `unsent` (the kernel did not take it),
        `reflected` (from port 0 or ourselves: no reply), `forwarded`, `forward_hit`,
        `forward_failed`, `internal_error`, `tcp_refused` (over a limit of connections),
        `tcp_evicted` (idle, and closed for a new one), `transfers_whole`,
        `transfers_incremental`, `transfers_refused`, `notify_sent`, `notify_heard` (replies of
        secondaries), `rrl_dropped`, `rrl_slipped`, `rrl_logged` (what would have been, see
        `limiter`)."""

    def total(self) -> int:
        """Answered queries of all kinds."""
        counters = (self.udp_fast, self.udp_slow, self.tcp_fast, self.tcp_slow)
        return sum(counter.total() for counter in counters)

    def truncated(self) -> int:
        """Replies with TC, whether made or remembered."""
        return sum(
            count
            for counter in (self.udp_fast, self.udp_slow, self.tcp_fast, self.tcp_slow)
            for kind, count in counter.items()
            if kind & _TRUNCATED
        )

    def latencies(self) -> Latencies:
        histograms = (self.udp_latency, self.tcp_latency, self.forward_latency)
        return sum((one.latencies() for one in histograms), Counter())

    def queries(self) -> Counter[QueryKind]:
        found: Counter[QueryKind] = Counter()
        for transport, path, counter in (
            ("udp", "fast", self.udp_fast),
            ("udp", "slow", self.udp_slow),
            ("tcp", "fast", self.tcp_fast),
            ("tcp", "slow", self.tcp_slow),
        ):
            for kind, count in counter.items():
                qtype = TYPE_NAMES.get(kind >> _QTYPE_SHIFT, "other")
                rcode = RCODE_NAMES[kind & ((1 << _RCODE_BITS) - 1)]
                found[QueryKind(transport, path, qtype, rcode)] += count
        return found
