"""A DNS worker: `python -m callboard.dns.worker FEED UDP TCP HANDED PARENT` (descriptors, a pid).

It answers from its own memory and is fed over a socket pair. When that closes it is gone, unless
the node was killed and it is to outlive that (`outliving.py`). No packet is read before the copy is
whole: until then they wait in the socket.
"""

import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgpack

from . import child, mmsg
from .chaos import Chaos
from .counters import Counters
from .feed import RateLimits, WorkerSettings, unpacker
from .forwarder import Forwarder
from .freshness import Freshness
from .limiter import Limiter
from .loop import Loop
from .mmsg import BatchedUdp, Client
from .options import EdnsOptions
from .outliving import Leaving, Outliving
from .rates import ResponseRates
from .replica import Replica
from .responder import Forward, HandedOver, Responder
from .succession import Offer, turn_away
from .tcp import IDLE_S_MAX, TcpServer
from .transfer.handover import HandOver
from .udp import PlainUdp
from .wire import labels_of

REPORT_S: Final = 1.0
FEED_READ_BYTES: Final = 64 * 1024
"""Some 500 changes, a third of a millisecond: then queries get their turn again."""
BATCHES_MAX: Final = 4
"""Of packets in a row, about a millisecond: then the feed, TCP and timers get their turn."""
LAST_BATCHES_MAX: Final = 256
"""More than `UDP_BUFFER_BYTES` holds of queries, and a tenth of a second at most."""
STOP_S_MAX: Final = 0.5
"""For TCP and forwarded questions when the node stops: who has not read our answer by then, or
has not given us one, does not hold up a restart."""

_logger = logging.getLogger(__name__)


class Worker:
    """Wires the responder to its feed and its sockets, on one loop."""

    def __init__(
        self,
        feed: socket.socket,
        udp: socket.socket,
        tcp: socket.socket,
        hand_over: HandOver | None,
        parent: int,
    ) -> None:
        self._loop = Loop()
        self._feed = feed
        self._udp = udp
        self._tcp = tcp
        stream = unpacker()
        settings = self._read_settings(stream)
        self._told_to_leave = False
        if settings.outlives:
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.signal(signum, self._on_signal)
        else:
            child.die_with(parent)
        self._responder = _responder(settings, hands_over=hand_over is not None)
        self._hand_over = hand_over
        self._settings = settings
        self._freshness = Freshness(settings.max_stale_s, time.monotonic())
        self._replica = Replica(self._responder, stream, self._freshness)
        self._forwarder = (
            Forwarder(self._loop, settings.forward, self._responder.counters)
            if settings.forward
            else None
        )
        self._limiter = _limiter(RateLimits(*settings.limits), self._responder.counters)
        self._serving = False
        self._is_alone = False
        self._serve: Callable[[int], None] = lambda _batches_max: None
        self._tcp_server: TcpServer | None = None
        self._offer: Offer | None = None
        self._reported_index = 0
        self._unsent = b""

    def run(self) -> None:
        self._replica.feed(b"")
        self._synced()
        self._feed.setblocking(False)
        self._loop.register(self._feed.fileno(), self._on_feed)
        self._loop.run()

    def _read_settings(self, stream: msgpack.Unpacker) -> WorkerSettings:
        while data := self._feed.recv(FEED_READ_BYTES):
            stream.feed(data)
            for _, _, items in stream:
                return WorkerSettings(*items)
        raise SystemExit(0)

    def _on_feed(self, _events: int) -> None:
        try:
            data = self._feed.recv(FEED_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._feed_ended()
            return
        self._replica.feed(data)
        self._judge_age()
        self._synced()

    def _on_signal(self, _signum: int, _frame: object) -> None:
        """The node stops in order, or somebody wants us gone: no outliving, then."""
        self._told_to_leave = True
        if self._is_alone:
            self._loop.stop()

    def _feed_ended(self) -> None:
        if self._told_to_leave or not (self._serving and self._settings.outlives):
            self._end_in_order()
            return
        try:
            self._offer = Offer(
                self._loop, self._settings.number, (self._udp, self._tcp), self._leave
            )
        except OSError as error:
            _logger.error("the node is gone, and nobody could take over: %s", error)
            self._loop.stop()
            return
        self._loop.unregister(self._feed.fileno())
        self._is_alone = True
        _logger.warning("the node is gone: answering on from the copy")
        child.let_go_of_pipes()
        Outliving(self._loop, self._freshness, self._responder.counters)

    def _end_in_order(self) -> None:
        """Answer what waits first: a node that stops turns new packets away before it tells us."""
        if self._tcp_server is None:
            self._loop.stop()
            return
        self._loop.unregister(self._feed.fileno())
        self._serve(LAST_BATCHES_MAX)
        Leaving(self._loop, self._tcp_server, self._forwarder, at_least_s=0, at_most_s=STOP_S_MAX)

    def _leave(self, shared: bool) -> None:
        """Another node's workers answer, at our UDP socket too if that is `shared`."""
        if shared:
            self._loop.unregister(self._udp.fileno())
        else:
            turn_away(self._udp)  # and answer what waits there: nobody else would
        assert self._offer is not None, "nobody takes over what was not offered"
        assert self._tcp_server is not None, "offered before it served"
        self._offer.close()
        Leaving(self._loop, self._tcp_server, self._forwarder)

    def _judge_age(self) -> None:
        expired = self._freshness.is_expired(time.monotonic())
        if expired != self._responder.expired:
            self._responder.expired = expired
            if expired:
                _logger.error("the copy is too old: SERVFAIL until the registry is heard")
            else:
                _logger.warning("the registry is heard of again: its names are answered")

    def _synced(self) -> None:
        """Begin to answer, once the copy is whole."""
        if self._serving or not self._replica.synced:
            return
        self._serving = True
        # What is here now stays; and nothing on the way of a query makes cycles to be found.
        gc.collect()
        gc.freeze()
        gc.disable()
        serve = self._serve = self._udp_server().serve
        self._loop.register(self._udp.fileno(), lambda _events: serve(BATCHES_MAX))
        self._tcp_server = TcpServer(
            self._loop, self._tcp, self._responder, self._forward, self._hand_over
        )
        self._report()

    def _udp_server(self) -> BatchedUdp | PlainUdp:
        if not (self._settings.batched and mmsg.is_available()):
            return PlainUdp(self._udp, self._responder, self._forward_udp, limiter=self._limiter)
        return BatchedUdp(
            self._udp,
            self._responder,
            self._forward_udp,
            limiter=self._limiter,
            reply_from_destination=self._settings.reply_from_destination,
        )

    def _forward_udp(self, question: Forward | HandedOver, client: Client) -> None:
        if isinstance(question, HandedOver):
            if self._limiter is not None and not self._limiter.admits(client.address):
                return
            if not (self._hand_over and self._hand_over.packet(question.packet, client)):
                self._responder.counters.events["unsent"] += 1
            return
        self._forward(question, partial(self._send_udp, client))

    def _send_udp(self, client: Client, reply: bytes) -> None:
        if self._limiter is not None and not (reply := self._limiter.limit(reply, client.address)):
            return
        try:
            self._udp.sendmsg([reply], client.ancillary, 0, client.address)
        except OSError:
            self._responder.counters.events["unsent"] += 1

    def _forward(self, question: Forward, send: Any) -> None:
        assert self._forwarder is not None, "the responder forwards only when it is told to"
        self._forwarder.forward(question, send)

    def _report(self) -> None:
        """Tell the registry process how it goes. The first report says: ready."""
        self._loop.call_later(REPORT_S, self._report)
        self._judge_age()
        if self._responder.index != self._reported_index:
            self._responder.refresh_serials()
            self._reported_index = self._responder.index
        counters = self._responder.counters
        report = {
            "index": self._responder.index,
            "services": self._responder.store.services,
            "instances": self._responder.store.instances,
            "rss_bytes": child.rss_bytes(),
            "copy_age_s": self._freshness.age_s(time.monotonic()),
            "queries": [(*kind, count) for kind, count in counters.queries().items()],
            "events": {**counters.events, "truncated": counters.truncated()},
            "latencies": [(*key, count) for key, count in counters.latencies().items()],
        }
        if not self._unsent:  # else it is busy, and the next report says it all again
            self._unsent = msgpack.packb(report)
        try:
            self._unsent = self._unsent[self._feed.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""  # the node is gone: reading its feed says so, too


def _responder(settings: WorkerSettings, *, hands_over: bool) -> Responder:
    return Responder(
        [labels_of(zone) for zone in settings.zones],
        ttl_s=settings.ttl_s,
        server_addresses=settings.server_addresses,
        forwards=settings.forward is not None,
        hands_over=hands_over,
        options=EdnsOptions.configured(
            settings.cookie_secrets, time.time, settings.nsid, IDLE_S_MAX
        ),
        reverse_zones=[labels_of(zone) for zone in settings.reverse_zones],
        chaos=Chaos(settings.chaos_identity, settings.chaos_version),
    )


def _limiter(limits: RateLimits, counters: Counters) -> Limiter | None:
    if limits.mode == "off":
        return None
    return Limiter(ResponseRates(limits.rate, limits.slip), counters, enforced=limits.mode == "on")


def main(arguments: list[str]) -> None:
    feed, udp, tcp, handed, parent = map(int, arguments)
    child.begin("dns worker")
    sockets = [socket.socket(fileno=fd) for fd in (feed, udp, tcp)]
    for one in sockets[1:]:
        one.setblocking(False)
    hand_over = HandOver(socket.socket(fileno=handed)) if handed >= 0 else None
    Worker(sockets[0], sockets[1], sockets[2], hand_over, parent).run()


if __name__ == "__main__":
    main(sys.argv[1:])
