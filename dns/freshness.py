"""How old the copy is that a worker answers from, and whether it is still fit to be told."""

from typing import Final

MAX_STALE_S: Final = 3600.0
"""An hour: long enough to mend a registry in, short of a day in which everything has moved."""
HEARTBEAT_S: Final = 1.0
"""How often the registry process says how old its own board is; silence ages the copy."""


class Freshness:
    """Times are seconds of the system's monotonic clock, which all its processes share."""

    def __init__(self, max_stale_s: float, now_s: float) -> None:
        """`max_stale_s` may be infinite."""
        self._max_stale_s = max_stale_s
        self._as_of_s = now_s

    def heard(self, as_of_s: float) -> None:
        """The copy holds everything that was committed before this moment."""
        self._as_of_s = as_of_s

    def age_s(self, now_s: float) -> float:
        return max(0.0, now_s - self._as_of_s)

    def is_expired(self, now_s: float) -> bool:
        return self.age_s(now_s) > self._max_stale_s
