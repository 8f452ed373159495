"""The clock that leases run by: monotonic seconds that stand still while the process does."""

import time
from collections.abc import Callable
from typing import Final

STALL_S: Final = 1.0
"""The keeper of the leases asks for the time ten times a second, who stands by twice. Whoever has
not asked for this long was stopped, or starved, and so could not have heard a single renewal."""


class LeaseClock:
    """Seconds since some moment, without the stalls.

    After SIGSTOP and SIGCONT, a suspended laptop or a paused virtual machine, the renewals of
    the time in between are still in the sockets. Counting that time would expire everyone.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last_s = monotonic()
        self._stalled_s = 0.0

    def __call__(self) -> float:
        now_s = self._monotonic()
        if now_s - self._last_s > STALL_S:
            self._stalled_s += now_s - self._last_s
        self._last_s = now_s
        return now_s - self._stalled_s
