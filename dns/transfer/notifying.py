"""The sockets and the clock of notifications."""

import ipaddress
import logging
import socket
import time
from typing import Final

from ..loop import Loop
from .grants import address_of
from .notify import Notifier
from .transfers import Transfers

REPLY_BYTES_MAX: Final = 4096
REPLIES_MAX: Final = 64
"""Read in a row: anybody may send to a socket."""

_logger: Final = logging.getLogger(__name__)


class Notifying:
    """Sends what is due and reads what comes back."""

    def __init__(
        self, loop: Loop, notifier: Notifier, transfers: Transfers, source: str | None
    ) -> None:
        self._loop = loop
        self._notifier = notifier
        self._transfers = transfers
        self._events = transfers.responder.counters.events
        self._source = source
        self._sockets: dict[int, socket.socket] = {}
        self._planned_s: float | None = None

    def changed(self) -> None:
        """The zones are not what they were."""
        self._notifier.changed(time.monotonic())
        self._plan()

    def _plan(self) -> None:
        next_s = self._notifier.next_s
        if next_s is None or (self._planned_s is not None and self._planned_s <= next_s):
            return
        self._planned_s = next_s
        self._loop.call_later(max(0.0, next_s - time.monotonic()), self._send)

    def _send(self) -> None:
        self._planned_s = None
        notices = self._notifier.due(self._transfers.serial, time.monotonic(), int(time.time()))
        for notice in notices:
            try:
                self._socket(notice.place[0]).sendto(notice.message, notice.place)
                self._events["notify_sent"] += 1
            except OSError as error:  # it is due again by itself
                _logger.warning("cannot notify %s port %d: %s", *notice.place, error)
        self._plan()

    def _socket(self, host: str) -> socket.socket:
        """From the address that we serve at if we can: that is what secondaries check."""
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        if family not in self._sockets:
            made = socket.socket(family, socket.SOCK_DGRAM)
            made.setblocking(False)
            if self._source is not None and (":" in self._source) == (family == socket.AF_INET6):
                made.bind((self._source, 0))
            self._sockets[family] = made
            self._loop.register(made.fileno(), lambda _events: self._receive(made))
        return self._sockets[family]

    def _receive(self, one: socket.socket) -> None:
        for _ in range(REPLIES_MAX):
            try:
                data, address = one.recvfrom(REPLY_BYTES_MAX)
            except OSError:
                return  # nothing there, or that nobody listens, which no answer says as well
            place = (str(address_of(address[0])), address[1])
            if self._notifier.received(data, place, int(time.time())):
                self._events["notify_heard"] += 1
