"""How long to wait before the next attempt: exponential, with full spread, bounded."""

from collections.abc import Callable
from random import random
from typing import Final

FIRST_S: Final = 0.1
"""A server that restarts is back within a second; the first attempts should see that soon."""
LONGEST_S: Final = 10.0
"""A thousand clients that wait this long ask a returning server about 100 times a second."""


class Backoff:
    """`next_s()` grows twofold; `reset()` after a success.

    Each wait is drawn from the upper half of its step, so that clients which lost the same
    server do not come back in step, and none comes back at once.
    """

    def __init__(
        self,
        first_s: float = FIRST_S,
        longest_s: float = LONGEST_S,
        randomness: Callable[[], float] = random,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._randomness = randomness
        self._step_s = first_s

    def next_s(self) -> float:
        step_s = min(self._step_s, self._longest_s)
        self._step_s = step_s * 2
        return step_s * (0.5 + 0.5 * self._randomness())

    def reset(self) -> None:
        self._step_s = self._first_s
