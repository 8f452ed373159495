"""What a worker counts, cheaply enough for the fast path, and how it reads outside."""

from collections import Counter
from typing import Final, NamedTuple

from .wire import RCODE_NAMES, TYPE_NAMES

TRANSPORTS: Final = ("udp", "tcp")
PATHS: Final = ("fast", "slow")

_RCODE_BITS: Final = 5


class QueryKind(NamedTuple):
    """The labels of one counter of queries. Types that are not known by name are "other"."""

    transport: str
    path: str
    qtype: str
    rcode: str


def kind_of(qtype: int, rcode: int) -> int:
    """A small number for the type and the rcode: the fast path counts these."""
    return (qtype if qtype in TYPE_NAMES else 0) << _RCODE_BITS | rcode


class Counters:
    """Numbers that only grow, for the life of the worker."""

    def __init__(self) -> None:
        self.udp_fast: Counter[int] = Counter()
        self.udp_slow: Counter[int] = Counter()
        self.tcp_fast: Counter[int] = Counter()
        self.tcp_slow: Counter[int] = Counter()
        self.events: Counter[str] = Counter()
        """`truncated`, `dropped` (no reply by rule), `unsent` (the kernel did not take it),
        `reflected` (from port 0 or ourselves: no reply), `forwarded`, `forward_hit`,
        `forward_failed`, `internal_error`, `tcp_refused` (over a limit of connections),
        `transfers_whole`, `transfers_incremental`, `transfers_refused`, `notify_sent`,
        `tcp_evicted` (idle, and closed for a new one), `rrl_dropped`, `rrl_slipped`,
        `rrl_logged` (what would have been, see `limiter`)."""

    def total(self) -> int:
        """Answered queries of all kinds."""
        counters = (self.udp_fast, self.udp_slow, self.tcp_fast, self.tcp_slow)
        return sum(counter.total() for counter in counters)

    def queries(self) -> dict[QueryKind, int]:
        found = {}
        for transport, path, counter in (
            ("udp", "fast", self.udp_fast),
            ("udp", "slow", self.udp_slow),
            ("tcp", "fast", self.tcp_fast),
            ("tcp", "slow", self.tcp_slow),
        ):
            for kind, count in counter.items():
                qtype = TYPE_NAMES.get(kind >> _RCODE_BITS, "other")
                rcode = RCODE_NAMES[kind & ((1 << _RCODE_BITS) - 1)]
                found[QueryKind(transport, path, qtype, rcode)] = count
        return found
