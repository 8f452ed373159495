"""When a registration is renewed next: times in, times out."""

from collections.abc import Callable
from random import random
from typing import Final

from .backoff import Backoff

RENEWALS_PER_TTL: Final = 3
"""Two renewals may be lost before the lease runs out."""
SPREAD: Final = 0.1
"""Renewals of instances that started together drift apart by this share either way."""
INTERVAL_S_MIN: Final = 0.05
"""A TTL below 150 ms would be a busy loop; the server's own smallest TTL is above it."""


class Renewing:
    """The clock of one lease; `ttl_s` 0 needs no renewing."""

    def __init__(self, ttl_s: float, randomness: Callable[[], float] = random) -> None:
        self._randomness = randomness
        self._interval_s = max(ttl_s / RENEWALS_PER_TTL, INTERVAL_S_MIN) if ttl_s > 0 else None
        self._backoff = Backoff(
            first_s=min(0.5, self._interval_s or 0.5),
            longest_s=self._interval_s or 10.0,
            randomness=randomness,
        )

    def after_success_s(self) -> float | None:
        """How long until the next renewal; None when only a new status needs telling."""
        self._backoff.reset()
        if self._interval_s is None:
            return None
        return self._interval_s * (1 + SPREAD * (2 * self._randomness() - 1))

    def after_failure_s(self) -> float:
        """Sooner at first: the lease is running out."""
        return self._backoff.next_s()

    def call_timeout_s(self, longest_s: float) -> float:
        """A renewal that takes longer than the time between two is better sent again."""
        return min(longest_s, max(self._interval_s or longest_s, 1.0))
