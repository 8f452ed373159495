"""A worker whose node was killed: it answers on from its copy until somebody else does.

It leaves when the next node has taken over, when it is told to (SIGTERM), when its copy is too
old, and when nobody asks it any more: a process that is in nobody's service is a leak.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from .counters import Counters
from .forwarder import Forwarder
from .freshness import Freshness
from .loop import Loop
from .tcp import TcpServer

ALONE_S_MAX: Final = 86_400.0
"""Also with `--dns-max-stale unlimited`: a node that is not started again in a day is not
missed."""
UNASKED_S_MAX: Final = 300.0
"""Clients ask again when a TTL is over, and those are short."""
LEAVE_S_MAX: Final = 3.0
"""For what is still on its way: answers over TCP, forwarded questions (two tries)."""
TEND_S: Final = 0.1

_logger: Final = logging.getLogger(__name__)


class Outliving:
    """Create it when the node is gone; it stops `loop` when it is time."""

    def __init__(
        self,
        loop: Loop,
        freshness: Freshness,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._freshness = freshness
        self._counters = counters
        self._clock = clock
        self._since_s = self._asked_s = clock()
        self._asked = self._queries()
        self._tend()

    def _tend(self) -> None:
        now_s = self._clock()
        if (asked := self._queries()) != self._asked:
            self._asked, self._asked_s = asked, now_s
        if self._freshness.is_expired(now_s) or now_s - self._since_s > ALONE_S_MAX:
            self._end("its copy is too old")
        elif now_s - self._asked_s > UNASKED_S_MAX:
            self._end("nobody asks any more")
        else:
            self._loop.call_later(TEND_S, self._tend)

    def _end(self, reason: str) -> None:
        _logger.warning("no node has taken over, and %s: leaving", reason)
        self._loop.stop()

    def _queries(self) -> int:
        return self._counters.total()


class Leaving:
    """Takes no more TCP connections, and stops `loop` when what was taken is answered.

    `at_least_s` from now, for what the kernel was just putting into a socket of ours.
    """

    def __init__(
        self,
        loop: Loop,
        tcp: TcpServer,
        forwarder: Forwarder | None,
        at_least_s: float = TEND_S,
        at_most_s: float = LEAVE_S_MAX,
    ) -> None:
        self._loop = loop
        self._tcp = tcp
        self._forwarder = forwarder
        self._deadline_s = time.monotonic() + at_most_s
        tcp.stop_accepting()
        loop.call_later(at_least_s, self._finish)

    def _finish(self) -> None:
        waits = self._tcp.is_busy or (self._forwarder is not None and self._forwarder.is_busy)
        if waits and time.monotonic() < self._deadline_s:
            self._loop.call_later(TEND_S, self._finish)
        else:
            self._loop.stop()
