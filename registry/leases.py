"""The lease keeper's deadlines: O(1) to grant, to renew and to let run out.

Leases are filed by the tick in which they would run out. A renewal only moves the deadline
and leaves the lease where it is filed; when its tick comes, a lease that was renewed is filed
again and one that was not has run out. So a million renewals a second cost a million stores,
and no heap is ever kept in order.

The caller brings the time: seconds of any monotonic clock.
"""

from collections.abc import Hashable, Iterator
from math import ceil, inf
from typing import Final, Generic, TypeVar

import msgspec

TICK_S: Final = 0.1
"""How exact an expiry is. Finer costs more wake-ups and buys nothing at TTLs of seconds."""

FILED_AHEAD_TICKS_MAX: Final = 600
"""No lease is filed further ahead than a minute, so that what a changed TTL leaves behind in
an old tick is gone within that minute, whatever TTLs a client alternates between."""

TTLS_SHARED_MAX: Final = 1024
"""A million leases share a handful of TTLs: one float each would be 24 MB for nothing."""

Key = TypeVar("Key", bound=Hashable)


class _Lease(msgspec.Struct, Generic[Key], eq=False, gc=False):
    """Holds nothing that could hold it, so the collector need not walk a million of these."""

    key: Key
    ttl_s: float
    deadline_s: float
    tick: int = 0
    """The one it is filed in; what lies in another tick is left over there."""


class Leases(Generic[Key]):
    """Deadlines by key. A key without a lease never runs out."""

    def __init__(self) -> None:
        self._leases: dict[Key, _Lease[Key]] = {}
        self._ticks: dict[int, tuple[int, list[_Lease[Key]]]] = {}
        """By number; with it once more, so that all leases of a tick share one object for it."""
        self._ttls: dict[float, float] = {}
        self._restarted_s = -inf

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, key: Key) -> bool:
        return key in self._leases

    def grant(self, key: Key, ttl_s: float, now_s: float) -> None:
        """Give `key` its full TTL from now, whether it had a lease or not."""
        self.set_deadline(key, ttl_s, now_s + ttl_s, now_s)

    def set_deadline(self, key: Key, ttl_s: float, deadline_s: float, now_s: float) -> None:
        """Let the lease of `key` run out at `deadline_s`; renewals still give the full TTL."""
        if len(self._ttls) < TTLS_SHARED_MAX:
            ttl_s = self._ttls.setdefault(ttl_s, ttl_s)
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = _Lease(key, ttl_s, deadline_s)
            self._file(lease, now_s)
            return
        lease.ttl_s = ttl_s
        lease.deadline_s = deadline_s
        if min(deadline_s, now_s + ttl_s) <= (lease.tick - 1) * TICK_S:
            self._file(lease, now_s)

    def renew(self, key: Key, now_s: float) -> float | None:
        """Start the TTL of `key` anew; the TTL, or None when it has no lease."""
        lease = self._leases.get(key)
        if lease is None:
            return None
        lease.deadline_s = now_s + lease.ttl_s
        return lease.ttl_s

    def drop(self, key: Key) -> None:
        self._leases.pop(key, None)

    def remaining_s(self, key: Key, now_s: float) -> float | None:
        """What is left of the lease of `key`, at least 0; None when it has none."""
        lease = self._leases.get(key)
        return None if lease is None else max(0.0, self._deadline_s(lease) - now_s)

    def deadline_s(self, key: Key) -> float | None:
        """When the lease of `key` runs out; None when it has none."""
        lease = self._leases.get(key)
        return None if lease is None else self._deadline_s(lease)

    def restart(self, now_s: float) -> None:
        """Give every lease its full TTL from now, at least; at no cost, however many."""
        self._restarted_s = now_s

    def due(self, now_s: float) -> Iterator[Key]:
        """What has run out by now and is not taken off yet."""
        now = int(now_s / TICK_S)
        return (
            lease.key
            for tick, (_, filed) in self._ticks.items()
            if tick <= now
            for lease in filed
            if lease.tick == tick
            and self._leases.get(lease.key) is lease
            and self._deadline_s(lease) <= now_s
        )

    def run_out(self, now_s: float) -> Iterator[tuple[Key, float]]:
        """Take off what has run out by now: (key, TTL) each.

        Leases may change between the steps, and whoever stops halfway finds the rest next time.
        """
        now = int(now_s / TICK_S)
        for tick in sorted(tick for tick in self._ticks if tick <= now):
            _, filed = self._ticks[tick]
            while filed:
                lease = filed.pop()
                if lease.tick != tick or self._leases.get(lease.key) is not lease:
                    continue
                lease.deadline_s = self._deadline_s(lease)
                if lease.deadline_s <= now_s:
                    del self._leases[lease.key]
                    yield lease.key, lease.ttl_s
                else:
                    self._file(lease, now_s)
            del self._ticks[tick]

    def _deadline_s(self, lease: _Lease[Key]) -> float:
        return max(lease.deadline_s, self._restarted_s + lease.ttl_s)

    def _file(self, lease: _Lease[Key], now_s: float) -> None:
        now = int(now_s / TICK_S)
        # No later than the deadline that a renewal could give: renewals do not file.
        due_s = min(lease.deadline_s, now_s + lease.ttl_s)
        tick = min(max(ceil(due_s / TICK_S), now + 1), now + FILED_AHEAD_TICKS_MAX)
        filed_there = self._ticks.get(tick)
        if filed_there is None:
            filed_there = self._ticks[tick] = (tick, [])
        lease.tick, filed = filed_there
        filed.append(lease)
