"""The worker's event loop: readiness, callbacks and timers, and nothing else.

asyncio would do, at twice the cost for a small batch of packets and 10 MB more in every worker.
"""

import heapq
import select
import time
from collections.abc import Callable
from itertools import count
from typing import Final

READABLE: Final = select.POLLIN
WRITABLE: Final = select.POLLOUT

_MS: Final = 1000


class Loop:
    """Callbacks get the events that `poll` saw; they must take what is there and return."""

    def __init__(self) -> None:
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._poll = None if self._epoll else select.poll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._stopped = False

    def register(self, fd: int, callback: Callable[[int], None], events: int = READABLE) -> None:
        (self._epoll or self._poll).register(fd, events)  # type: ignore[union-attr]
        self._callbacks[fd] = callback

    def modify(self, fd: int, events: int) -> None:
        (self._epoll or self._poll).modify(fd, events)  # type: ignore[union-attr]

    def unregister(self, fd: int) -> None:
        """Before `fd` is closed."""
        (self._epoll or self._poll).unregister(fd)  # type: ignore[union-attr]
        del self._callbacks[fd]

    def is_registered(self, fd: int) -> bool:
        return fd in self._callbacks

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), callback))

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        while not self._stopped:
            for fd, events in self._ready(self._timeout_s()):
                callback = self._callbacks.get(fd)
                if callback is not None:  # else an earlier callback has closed it
                    callback(events)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()

    def close(self) -> None:
        if self._epoll is not None:
            self._epoll.close()

    def _timeout_s(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _ready(self, timeout_s: float | None) -> list[tuple[int, int]]:
        if self._epoll is not None:
            return self._epoll.poll(timeout_s)
        assert self._poll is not None
        return self._poll.poll(None if timeout_s is None else timeout_s * _MS)
