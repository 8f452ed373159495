"""Connections that were handed over: a zone goes out as fast as its reader takes it."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Final

from ..frames import BadFrame, Frames, framed
from ..loop import READABLE, WRITABLE, Loop
from .transfers import Asker, Transfers

CONNECTIONS_MAX: Final = 64
"""Secondaries are a handful; who is not granted anything is not kept."""
IDLE_S_MAX: Final = 10.0
"""Until the next request, as in `tcp`."""
WRITE_STALL_S_MAX: Final = 30.0
"""How long a secondary may read nothing: long enough for it to write what it has to disk."""
TRANSFER_S_MAX: Final = 3600.0
"""From request to end: a transfer holds on to the board as it was when it began."""
OUT_BYTES_MAX: Final = 64 * 1024
"""Made and not yet sent: the rest of the zone is not made before there is room for it."""
READ_BYTES: Final = 4096
SWEEP_S: Final = 1.0

_logger: Final = logging.getLogger(__name__)


def time_of_day_s() -> int:
    """By the wall clock, as TSIG has it."""
    return int(time.time())


class Connections:
    """All of them, on one loop."""

    def __init__(self, loop: Loop, transfers: Transfers) -> None:
        self.loop = loop
        self.transfers = transfers
        self._open: set[_Connection] = set()
        self._sweeps = False

    def take(self, connection: socket.socket, data: bytes) -> None:
        """Go on with a connection of which `data` was read."""
        try:
            host = connection.getpeername()[0]
        except OSError:
            connection.close()
            return
        if len(self._open) >= CONNECTIONS_MAX:
            connection.close()
            return
        if not self._sweeps:
            self._sweeps = True
            self.loop.call_later(SWEEP_S, self._sweep)
        one = _Connection(self, connection, host)
        self._open.add(one)
        one.start(data)

    def forget(self, connection: "_Connection") -> None:
        self._open.discard(connection)

    def _sweep(self) -> None:
        now_s = time.monotonic()
        for connection in [one for one in self._open if one.deadline_s < now_s]:
            connection.close()
        self._sweeps = bool(self._open)
        if self._sweeps:
            self.loop.call_later(SWEEP_S, self._sweep)


class _Connection:
    def __init__(self, connections: Connections, taken: socket.socket, host: str) -> None:
        taken.setblocking(False)
        self._connections = connections
        self._socket = taken
        self._host = host
        self._stays = connections.transfers.may_have(host)
        self._frames = Frames()
        self._out = bytearray()
        self._replies: Iterator[bytes] = iter(())
        self._busy = False
        """Whether there may be more replies."""
        self._ends_s = 0.0
        self._events = READABLE
        self._at_end = False
        self.deadline_s = time.monotonic() + IDLE_S_MAX
        connections.loop.register(taken.fileno(), self._ready, READABLE)

    def start(self, data: bytes) -> None:
        self._frames.feed(data)
        self._ready(0)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._connections.loop.unregister(self._socket.fileno())
            self._socket.close()
            self._replies = iter(())
            self._connections.forget(self)

    def _ready(self, events: int) -> None:
        try:
            if events & ~WRITABLE:
                self._read()
            self._reply()
            self._flush()
            self._settle()
        except (BadFrame, OSError):
            self.close()
        except Exception:  # the last resort, as in `responder`: one peer, not all of them
            self._connections.transfers.responder.counters.events["internal_error"] += 1
            _logger.exception("a transfer to %s failed", self._host)
            self.close()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            data = self._socket.recv(READ_BYTES)
            self._at_end = not data
            self._frames.feed(data)

    def _reply(self) -> None:
        """One message, so that other secondaries and the feed get their turn."""
        while len(self._out) < OUT_BYTES_MAX:
            if not self._busy:
                request = self._frames.next()
                if request is None:
                    return
                self._begin(request)
            message = next(self._replies, None)
            if message is not None:
                self._out += framed(message)
                return
            self._busy = False

    def _begin(self, request: bytes) -> None:
        transfers = self._connections.transfers
        if self._stays:
            transfers.settle()
        asker = Asker(self._host, True, time_of_day_s)
        first = next(replies := transfers.answer(request, asker), None)
        if first is None:
            raise BadFrame  # a response: whoever sends that is no client
        self._replies = chain((first,), replies)
        self._busy = True
        self._ends_s = time.monotonic() + TRANSFER_S_MAX

    def _flush(self) -> None:
        if not self._out:
            return
        with suppress(BlockingIOError):
            sent = self._socket.send(self._out)
            del self._out[:sent]
            self.deadline_s = min(time.monotonic() + WRITE_STALL_S_MAX, self._ends_s)

    def _settle(self) -> None:
        """What to wait for next, and until when."""
        is_done = not (self._busy or self._out)
        if is_done and (self._at_end or not self._stays):
            self.close()
            return
        events = READABLE if is_done else WRITABLE
        if events == self._events:
            return
        self._connections.loop.modify(self._socket.fileno(), events)
        self._events = events
        if is_done:
            self.deadline_s = time.monotonic() + IDLE_S_MAX
