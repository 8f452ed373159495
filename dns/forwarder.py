"""Questions that are not ours: asked of one upstream resolver, remembered, bounded throughout.

Every try has a socket of its own, connected, so that the kernel drops what other hosts send and
an off-path forger has to guess the source port besides the id. Clients who ask the same thing
at the same time share one try, so that they are no lottery tickets for forgers.
"""

import os
import socket
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from cachetools import TLRUCache

from . import wire
from .counters import Counters, kind_of
from .frames import BadFrame, Frames, framed
from .loop import READABLE, WRITABLE, Loop
from .query import Query
from .relay import Relayed, Truncated, client_reply, read_upstream, upstream_query
from .reply import empty_reply
from .responder import Forward

TRY_S_MAX: Final = 1.5
"""Twice this is less than the 5 s after which most stub resolvers ask again."""
TRIES_MAX: Final = 2
QUESTIONS_MAX: Final = 256
"""In flight, each with a socket: see `tcp.CONNECTIONS_MAX`."""
WAITERS_MAX: Final = 64
"""Clients waiting for the same question."""
CACHE_BYTES_MAX: Final = 16 * 2**20
_ENTRY_BYTES: Final = 600
"""What an entry weighs besides its body, roughly."""
READ_BYTES: Final = 65_537

SendReply = Callable[[bytes], None]
_Key = tuple[bytes, bool, bool]


class _Remembered(NamedTuple):
    relayed: Relayed
    since_s: float


class Forwarder:
    """`forward` takes a question and where its reply goes; the reply may come at once."""

    def __init__(
        self,
        loop: Loop,
        upstream: tuple[str, int],
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.loop = loop
        self.upstream = upstream
        self._counters = counters
        self._clock = clock
        self._pending: dict[_Key, _Question] = {}
        self._cache: TLRUCache[_Key, _Remembered] = TLRUCache(
            maxsize=CACHE_BYTES_MAX,
            ttu=lambda _key, one, now: now + one.relayed.ttl_s,
            timer=clock,
            getsizeof=lambda one: _ENTRY_BYTES + len(one.relayed.body),
        )

    @property
    def is_busy(self) -> bool:
        """Whether a question is on its way."""
        return bool(self._pending)

    def forward(self, asked: Forward, send: SendReply) -> None:
        key = _key(asked.query)
        remembered = self._cache.get(key)
        if remembered is not None:
            self._counters.events["forward_hit"] += 1
            self._reply(asked, send, remembered.relayed, self._clock() - remembered.since_s)
            return
        pending = self._pending.get(key)
        if pending is None and len(self._pending) < QUESTIONS_MAX:
            pending = self._pending[key] = _Question(self, asked.query, self._clock())
            pending.waiters.append((asked, send))
            self._counters.events["forwarded"] += 1
            pending.ask()
        elif pending is not None and len(pending.waiters) < WAITERS_MAX:
            pending.waiters.append((asked, send))
        else:
            self._fail(asked, send)

    def finish(self, question: "_Question", relayed: Relayed | None) -> None:
        """Called once by each question: what it found out, None for nothing."""
        key = _key(question.query)
        del self._pending[key]
        took_ns = round((self._clock() - question.since_s) * 1e9)
        self._counters.forward_latency.add(took_ns, len(question.waiters))
        if relayed is not None and relayed.ttl_s:
            self._cache[key] = _Remembered(relayed, self._clock())
        for asked, send in question.waiters:
            if relayed is None:
                self._fail(asked, send)
            else:
                self._reply(asked, send, relayed, 0)

    def _reply(self, asked: Forward, send: SendReply, relayed: Relayed, age_s: float) -> None:
        reply = client_reply(relayed, asked.packet_id, asked.query, asked.limit_bytes, int(age_s))
        self._count(asked, relayed.rcode, bool(reply[2] << 8 & wire.FLAG_TC))
        send(reply)

    def _fail(self, asked: Forward, send: SendReply) -> None:
        self._counters.events["forward_failed"] += 1
        self._count(asked, wire.SERVFAIL)
        send(empty_reply(asked.packet_id, asked.query, wire.SERVFAIL, wire.FLAG_RA))

    def _count(self, asked: Forward, rcode: int, truncated: bool = False) -> None:
        tcp = asked.limit_bytes == wire.TCP_BYTES_MAX
        slow = self._counters.tcp_slow if tcp else self._counters.udp_slow
        slow[kind_of(asked.query.qtype, rcode, truncated)] += 1


class _Question:
    """One question on its way: tries over UDP, then TCP if the answer is too large."""

    def __init__(self, forwarder: Forwarder, query: Query, since_s: float) -> None:
        self.query = query
        self.since_s = since_s
        self.waiters: list[tuple[Forward, SendReply]] = []
        self._forwarder = forwarder
        self._loop = forwarder.loop
        self._tries = 0
        self._socket: socket.socket | None = None
        self._id = b""
        self._frames: Frames | None = None
        self._unsent = b""

    def ask(self) -> None:
        self._tries += 1
        try:
            self._open(socket.SOCK_DGRAM)
            assert self._socket is not None
            self._loop.register(self._socket.fileno(), self._on_datagram)
            self._socket.send(upstream_query(self._id, self.query))
        except OSError:
            self._next_try()

    def _open(self, kind: int) -> None:
        """A socket of its own for this try, and a timer that knows which try it was for."""
        self._close()
        host, port = self._forwarder.upstream
        opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        self._id = os.urandom(2)
        opened.setblocking(False)
        self._socket = opened
        self._loop.call_later(TRY_S_MAX, lambda: self._expired(opened))
        if kind == socket.SOCK_DGRAM:
            opened.connect((host, port))
        else:
            opened.connect_ex((host, port))

    def _close(self) -> None:
        if self._socket is not None:
            if self._loop.is_registered(self._socket.fileno()):
                self._loop.unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _expired(self, opened: socket.socket) -> None:
        if self._socket is opened:
            self._next_try()

    def _next_try(self) -> None:
        if self._tries < TRIES_MAX and self._frames is None:
            self.ask()
        else:
            self._done(None)

    def _done(self, relayed: Relayed | None) -> None:
        self._close()
        self._forwarder.finish(self, relayed)

    def _on_datagram(self, _events: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # refused: nobody listens there
            self._next_try()
            return
        found = read_upstream(data, self._id, self.query.question)
        if isinstance(found, Truncated):
            self._ask_over_tcp()
        elif found is not None:
            self._done(found)

    def _ask_over_tcp(self) -> None:
        self._frames = Frames()
        try:
            self._open(socket.SOCK_STREAM)
            assert self._socket is not None
            self._unsent = framed(upstream_query(self._id, self.query))
            self._loop.register(self._socket.fileno(), self._on_stream, WRITABLE)
        except OSError:
            self._next_try()

    def _on_stream(self, _events: int) -> None:
        assert self._socket is not None
        assert self._frames is not None
        try:
            if self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
                self._loop.modify(self._socket.fileno(), WRITABLE if self._unsent else READABLE)
                return
            data = self._socket.recv(READ_BYTES)
            self._frames.feed(data)
            message = self._frames.next()
        except BlockingIOError:
            return
        except (OSError, BadFrame):
            self._next_try()
            return
        if message is not None:
            found = read_upstream(message, self._id, self.query.question, tcp=True)
            self._done(found if isinstance(found, Relayed) else None)
        elif not data:
            self._next_try()


def _key(query: Query) -> _Key:
    """Whoever asks with the same key gets the same answer."""
    do = query.edns is not None and query.edns.do
    return query.question.lower(), do, bool(query.flags & wire.FLAG_CD)
