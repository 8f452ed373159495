"""The mass-expiry guard: many leases that run out at once are a network that has failed.

Services that die together are rare; a switch that takes a rack's renewals with it is not. So
when more than a share of all leases runs out within a window, the rest is held back for a while.
Those that renew in that time live on as if nothing had been; what is silent then goes after all.

Plain and synchronous: the caller brings the time and says what has run out.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

WINDOW_S: Final = 10.0
"""Clients of a network that fails run out within one interval of renewals of each other."""
LEAST: Final = 10
"""On a small board a few deaths are a large share, and no catastrophe."""
SHARE_DEFAULT: Final = 0.15
HOLD_S_DEFAULT: Final = 300.0


class MassExpiry:
    """`share` of all leases that may run out within the window; 0 switches the guard off.

    At every sweep `judge` what is due, then `admit` it in as many portions as you like.
    """

    def __init__(self, share: float = SHARE_DEFAULT, hold_s: float = HOLD_S_DEFAULT) -> None:
        self._share = share
        self._hold_s = hold_s
        self._recent: deque[tuple[float, int]] = deque()
        """When how many ran out, those that were held back among them."""
        self._recent_count = 0
        self._holding = False
        self._held: dict[bytes, float] = {}
        self._held_until_s = 0.0

    @property
    def enabled(self) -> bool:
        return self._share > 0 and self._hold_s > 0

    @property
    def held(self) -> Mapping[bytes, float]:
        """Keys and until when; those that have been renewed meanwhile, too."""
        return self._held

    def judge(self, due: int, leases: int, now_s: float) -> None:
        """`due` of the `leases` have run out by now: decide whether they may go."""
        while self._recent and self._recent[0][0] <= now_s - WINDOW_S:
            self._recent_count -= self._recent.popleft()[1]
        if self._held and now_s > self._held_until_s + WINDOW_S:
            self._held.clear()  # what is left of them was renewed
        allowed = max(LEAST, self._share * (leases + self._recent_count))
        if due:
            self._recent.append((now_s, due))
            self._recent_count += due
        self._holding = self.enabled and self._recent_count > allowed

    def admit(
        self, run_out: dict[bytes, float], now_s: float
    ) -> tuple[dict[bytes, float], dict[bytes, float]]:
        """Which of `run_out` (key to TTL) go, and which are held back: key to until when."""
        going = {key: ttl for key, ttl in run_out.items() if self._may_go(key, now_s)}
        if len(going) == len(run_out):
            return going, {}
        self._held_until_s = now_s + self._hold_s
        kept = dict.fromkeys(run_out.keys() - going.keys(), self._held_until_s)
        self._held.update(kept)
        return going, kept

    def restart(self) -> None:
        """Another keeper was at work meanwhile: every lease begins anew."""
        self._recent.clear()
        self._recent_count = 0
        self._held.clear()

    def _may_go(self, key: bytes, now_s: float) -> bool:
        until_s = self._held.pop(key, None)
        if until_s is not None and until_s <= now_s < until_s + WINDOW_S:
            return True  # held back, and silent ever since; once renewed it is due at another time
        return not self._holding
