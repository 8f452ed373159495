"""The process of transfers: `python -m callboard.dns.transfer.process FEED HANDED UDP PARENT`.

It keeps a copy of the board of its own, so that no transfer can hold up an answer, and is the
only one that knows the keys and tells secondaries of changes.
"""

import gc
import logging
import os
import socket
import sys
import time
from ipaddress import ip_network
from typing import Any, Final

import msgpack

from .. import child
from ..chaos import Chaos
from ..feed import FeedKind, unpacker
from ..freshness import Freshness
from ..loop import Loop
from ..options import EdnsOptions
from ..wire import labels_of
from .board import BoardCopy
from .config import TransferSettings
from .connections import IDLE_S_MAX, Connections, time_of_day_s
from .grants import Grant, Target
from .handover import Handed, receive
from .keys import Key
from .notify import Notifier
from .notifying import Notifying
from .transfers import Asker, Transfers

REPORT_S: Final = 1.0
GATHER_S: Final = 1.0
"""Between two serials that nobody asked for: what changes in between is one difference, and one
message to each secondary."""
FEED_READ_BYTES: Final = 256 * 1024
HANDED_MAX: Final = 64
"""Taken in a row; then the feed and the connections get their turn."""
_MS: Final = 1000
NICENESS: Final = 5
"""Whoever waits for an answer goes before whoever waits for a zone."""

_logger: Final = logging.getLogger(__name__)


class TransferProcess:
    """Wires transfers and notifications to the feed and the sockets, on one loop."""

    def __init__(self, feed: socket.socket, handed: socket.socket, udp: socket.socket) -> None:
        self._loop = Loop()
        self._feed = feed
        handed.setblocking(False)
        self._handed = handed
        self._udp = udp
        self._stream = unpacker()
        settings = self._read_settings()
        keys = {key.name: key for key in settings.keys}
        self._transfers = Transfers(
            [labels_of(zone) for zone in settings.zones],
            ttl_s=settings.ttl_s,
            server_addresses=settings.server_addresses,
            grants=[Grant(ip_network(network), key) for network, key in settings.grants],
            keys=keys,
            reverse_zones=[labels_of(zone) for zone in settings.reverse_zones],
            options=EdnsOptions.configured(
                settings.cookie_secrets, time.time, settings.nsid, IDLE_S_MAX
            ),
            chaos=Chaos(settings.chaos_identity, settings.chaos_version),
        )
        self._freshness = Freshness(settings.max_stale_s, time.monotonic())
        self._events = self._transfers.responder.counters.events
        self._connections = Connections(self._loop, self._transfers)
        notifier = Notifier(settings.notify, self._transfers.zones, keys)
        self._notifying = Notifying(self._loop, notifier, self._transfers, settings.source)
        self._next: BoardCopy | None = None
        self._synced = False
        self._settles = False
        self._told = 0
        self._unsent = b""

    def run(self) -> None:
        self._take_feed(b"")
        self._feed.setblocking(False)
        self._loop.register(self._feed.fileno(), self._on_feed)
        self._loop.run()

    def _read_settings(self) -> TransferSettings:
        while data := self._feed.recv(FEED_READ_BYTES):
            self._stream.feed(data)
            for _, _, items in self._stream:
                settings = TransferSettings(*items)
                return settings._replace(
                    notify=[Target(*one) for one in settings.notify],
                    keys=[Key(*one) for one in settings.keys],
                )
        raise SystemExit(0)

    def _on_feed(self, _events: int) -> None:
        try:
            data = self._feed.recv(FEED_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self._take_feed(data)
        else:
            self._loop.stop()

    def _take_feed(self, data: bytes) -> None:
        self._stream.feed(data)
        for kind, index, items in self._stream:
            if kind == FeedKind.BEGIN:
                self._next = self._transfers.new_board()
            elif kind == FeedKind.CHANGES:
                pairs = iter(items)
                board = self._next or self._transfers.board
                board.note(index, zip(pairs, pairs, strict=True))
            elif kind == FeedKind.END and self._next is not None:
                self._transfers.replace(index, self._next)
                self._next = None
                self._begin()
            elif kind == FeedKind.HEARTBEAT:
                self._freshness.heard(items[0] / _MS)
        self._judge_age()
        if self._synced and not self._settles and not self._transfers.board.is_settled:
            self._settles = True
            self._loop.call_later(0.0, self._settle)

    def _judge_age(self) -> None:
        """Of a copy that is too old nothing is handed out, as by the workers."""
        self._transfers.responder.expired = self._freshness.is_expired(time.monotonic())

    def _begin(self) -> None:
        """Take what is handed over, once the copy is whole."""
        if not self._synced:
            self._synced = True
            gc.collect()
            gc.freeze()
            self._loop.register(self._handed.fileno(), self._on_handed)
            self._report()
        self._tell()

    def _settle(self) -> None:
        """Now, and not again before a while has passed."""
        self._transfers.settle()
        self._tell()
        self._loop.call_later(GATHER_S, self._rest)

    def _rest(self) -> None:
        self._settles = False
        self._tell()  # who asked meanwhile has settled what the others have not heard of
        self._take_feed(b"")

    def _tell(self) -> None:
        if self._transfers.versions != self._told:
            self._told = self._transfers.versions
            self._notifying.changed()

    def _on_handed(self, _events: int) -> None:
        for _ in range(HANDED_MAX):
            handed = receive(self._handed)
            if handed is None:
                return
            if handed.connection is not None:
                self._connections.take(handed.connection, handed.data)
            elif handed.client is not None:
                self._reply(handed)

    def _reply(self, handed: Handed) -> None:
        address, ancillary = handed.client or ((), [])
        host = address[0]
        if self._transfers.may_have(host):
            self._transfers.settle()
        asker = Asker(host, False, time_of_day_s)
        try:
            for reply in self._transfers.answer(handed.data, asker):
                self._udp.sendmsg([reply], ancillary, 0, address)
        except OSError:  # port 0, no route, a full buffer: it asks again
            self._events["unsent"] += 1
        except Exception:  # the last resort, as in `responder`
            self._events["internal_error"] += 1
            _logger.exception("answering %s failed", handed.data.hex())

    def _report(self) -> None:
        """As a worker does (`worker.Worker._report`). The first report says: ready."""
        self._loop.call_later(REPORT_S, self._report)
        self._judge_age()
        board = self._transfers.board
        report: dict[str, Any] = {
            "index": board.serial,
            "services": board.store.services,
            "instances": board.store.instances,
            "rss_bytes": child.rss_bytes(),
            "events": dict(self._events),
        }
        if not self._unsent:
            self._unsent = msgpack.packb(report)
        try:
            self._unsent = self._unsent[self._feed.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._loop.stop()


def main(arguments: list[str]) -> None:
    feed, handed, udp, parent = map(int, arguments)
    child.begin("dns transfers")
    child.die_with(parent)
    os.nice(NICENESS)
    TransferProcess(*(socket.socket(fileno=fd) for fd in (feed, handed, udp))).run()


if __name__ == "__main__":
    main(sys.argv[1:])
