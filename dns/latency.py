"""How long queries take, in buckets: two clock reads for a batch, not for a query."""

from bisect import bisect_left
from collections import Counter
from typing import Final

BOUNDS_S: Final = (
    *(0.00005, 0.0001, 0.00025, 0.0005),
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
"""From a small batch in one go to an upstream resolver that needs a second try."""
SUM: Final = -1
"""In place of a bucket: all the time together, in ns."""

UDP: Final = "udp"
"""From reading a batch to having sent its replies: what each query in it waited for us."""
TCP: Final = "tcp"
"""From taking the questions of one read to having sent their replies, as far as they are taken."""
FORWARDED: Final = "forwarded"
"""From asking upstream to the reply."""

Latencies = Counter[tuple[str, int]]
"""By path and bucket (the last one has no bound), or `SUM`. Counters add up over workers."""


class Histogram:
    def __init__(self, path: str) -> None:
        self._path = path
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_ns = 0

    def add(self, took_ns: int, queries: int = 1) -> None:
        self._counts[bisect_left(_BOUNDS_NS, took_ns)] += queries
        self._sum_ns += took_ns * queries

    def latencies(self) -> Latencies:
        found = {(self._path, at): count for at, count in enumerate(self._counts) if count}
        return Counter(found | {(self._path, SUM): self._sum_ns})


_BOUNDS_NS: Final = tuple(round(bound * 1e9) for bound in BOUNDS_S)
