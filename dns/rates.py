"""How many responses a client's network gets: buckets in a table that never grows.

The sources of UDP packets can be forged, so a server that answers everybody at any rate can be
aimed at somebody. Each network and class of answer has a bucket (the generic cell rate
algorithm: one number, the time at which everything let through so far would have been due at
the rate allowed).
"""

from array import array
from typing import Final

BUCKETS: Final = 2**16
"""Networks and classes of answer that are told apart at the same time: 1.1 MB."""
WAYS: Final = 4
"""Places in which a bucket may stand. When all are in use, the one with the least to pay for is
given up: that errs towards answering, never towards silence for somebody who asks little."""
BURST_S: Final = 1.0
"""What may come at once, in seconds' worth of the rate: a resolver that starts asks in bursts."""

PASS: Final = 0
DROP: Final = 1
SLIP: Final = 2
"""An empty reply with TC or BADCOOKIE: who asked in earnest comes back over TCP, or with the
cookie, and neither can be forged."""

ANSWERS: Final = b"a"
DENIALS: Final = b"n"
ERRORS: Final = b"e"
"""Counted apart, so that a resolver whose users invent names still gets its answers. There is
nothing in an error that would be worth a second question: those are never slipped."""


class ResponseRates:
    """Judges responses, at `rate` a second for each network and class; time is passed in.

    Every `slip`-th response beyond it is a SLIP, the others a DROP; 0 drops all, 1 none.
    """

    def __init__(self, rate: float, slip: int, buckets: int = BUCKETS) -> None:
        assert buckets >= WAYS, "a power of two"
        assert buckets & (buckets - 1) == 0, "a power of two"
        self._interval_s = 1 / rate
        self._slip = slip
        self._mask = buckets - 1
        self._tags = array("q", bytes(8 * buckets))
        self._due_s = array("d", bytes(8 * buckets))
        self._dropped = bytearray(buckets)

    def judge(self, network: bytes, kind: bytes, now_s: float) -> int:
        """PASS, DROP or SLIP. `now_s` is positive and never falls."""
        tag = hash(network + kind)  # keyed: nobody outside can aim at a bucket
        at = tag & self._mask
        if self._tags[at] != tag:
            at = self._place(tag, now_s)
        due_s = self._due_s[at]
        if due_s - now_s < BURST_S:
            self._due_s[at] = max(due_s, now_s) + self._interval_s
            return PASS
        if not self._slip or kind == ERRORS:
            return DROP
        self._dropped[at] = (self._dropped[at] + 1) % self._slip
        return DROP if self._dropped[at] else SLIP

    def _place(self, tag: int, now_s: float) -> int:
        """Where the bucket stands, or stands from now on, empty."""
        first = tag & self._mask
        places = [first ^ way for way in range(WAYS)]
        for at in places:
            if self._tags[at] == tag:
                return at
        at = min(places, key=self._due_s.__getitem__)
        self._tags[at] = tag
        self._due_s[at] = now_s
        self._dropped[at] = 0
        return at
