"""The mass-expiry guard: many leases that run out at once are a network that has failed.

Services that die together are rare; a switch that takes a rack's renewals with it is not. So
when more than a share of all leases runs out within a window, the rest is held back for a while.
Those that renew in that time live on as if nothing had been; what is silent then goes after all.

Plain and synchronous: the caller brings the time and says what has run out.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

WINDOW_S: Final = 10.0
"""Clients of a network that fails run out within one interval of renewals of each other."""
LEAST: Final = 10
"""On a small board a few deaths are a large share, and no catastrophe."""
SHARE_DEFAULT: Final = 0.15
HOLD_S_DEFAULT: Final = 300.0


class MassExpiry:
    """`share` of all leases that may run out within the window; 0 switches the guard off.

    At every sweep `judge` what is due, then `admit` it in as many portions as you like. What was
    admitted and could not be deleted is `put_off`: it has been judged, and is not judged again.
    """

    def __init__(self, share: float = SHARE_DEFAULT, hold_s: float = HOLD_S_DEFAULT) -> None:
        self._share = share
        self._hold_s = hold_s
        self._recent: deque[tuple[float, int]] = deque()
        """When how many ran out for the first time, those that were held back among them."""
        self._recent_count = 0
        self._holding = False
        self._held: dict[bytes, float] = {}
        self._held_until_s = 0.0
        self._held_since_s = 0.0
        self._spent_s = 0.0
        """Of the hold, by keepers before this one."""
        self._spent_until_s = 0.0
        self._put_off: dict[bytes, float] = {}
        self._put_off_until_s = 0.0

    @property
    def enabled(self) -> bool:
        return self._share > 0 and self._hold_s > 0

    @property
    def held(self) -> Mapping[bytes, float]:
        """Keys and until when; those that have been renewed meanwhile, too."""
        return self._held

    def held_s(self, now_s: float) -> float:
        """How long leases have been held back in all, by earlier keepers too; 0 when none are."""
        return self._spent_s + (now_s - self._held_since_s if self._held else 0.0)

    def judge(self, due: int, leases: int, now_s: float) -> None:
        """`due` of the `leases`, none of which `may_go`, have run out: decide whether they may."""
        while self._recent and self._recent[0][0] <= now_s - WINDOW_S:
            self._recent_count -= self._recent.popleft()[1]
        if self._held and now_s > self._held_until_s + WINDOW_S:
            self._held.clear()  # what is left of them was renewed
            self._spent_s = 0.0
        if not self._held and now_s > self._spent_until_s:
            self._spent_s = 0.0
        if self._put_off and now_s > self._put_off_until_s + WINDOW_S:
            self._put_off.clear()
        allowed = max(LEAST, self._share * (leases + self._recent_count))
        if due:
            self._recent.append((now_s, due))
            self._recent_count += due
        self._holding = self.enabled and self._recent_count > allowed

    def admit(
        self, run_out: dict[bytes, float], now_s: float
    ) -> tuple[dict[bytes, float], dict[bytes, float]]:
        """Which of `run_out` (key to TTL) go, and which are held back: key to until when."""
        going = {key: ttl for key, ttl in run_out.items() if self._admits(key, now_s)}
        if len(going) == len(run_out):
            return going, {}
        if not self._held:
            self._held_since_s = now_s
        self._held_until_s = now_s + self._hold_s - self._spent_s
        kept = dict.fromkeys(run_out.keys() - going.keys(), self._held_until_s)
        self._held.update(kept)
        return going, kept

    def restart(self, now_s: float, held_s: float = 0.0) -> None:
        """Another keeper was at work meanwhile: every lease begins anew. What it had held back for
        `held_s` is held for the rest of its time; unless nothing runs out for as long as that."""
        self._recent.clear()
        self._recent_count = 0
        self._held.clear()
        self._put_off.clear()
        self._spent_s = held_s
        self._spent_until_s = now_s + self._hold_s

    def put_off(self, keys: Iterable[bytes], until_s: float) -> None:
        """These were admitted, are still there, and are due again at `until_s`."""
        if self.enabled:
            self._put_off.update(dict.fromkeys(keys, until_s))
            self._put_off_until_s = until_s

    def may_go(self, key: bytes, now_s: float) -> bool:
        """Whether `key`, due now, was judged before: held back or put off, and silent ever since.
        Once renewed it is due at another time."""
        return any(
            until_s <= now_s < until_s + WINDOW_S
            for until_s in (self._held.get(key), self._put_off.get(key))
            if until_s is not None
        )

    def _admits(self, key: bytes, now_s: float) -> bool:
        judged_before = self.may_go(key, now_s)
        self._held.pop(key, None)
        self._put_off.pop(key, None)
        return judged_before or not self._holding or self._spent_s >= self._hold_s
