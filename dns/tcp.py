"""DNS over TCP (RFC 7766): pipelined, answered in order, and hard to hold hostage."""

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from .client_address import packed_address
from .frames import BadFrame, Frames, framed
from .loop import READABLE, WRITABLE, Loop
from .responder import Forward, HandedOver, Responder
from .transfer.handover import HandOver

CONNECTIONS_MAX: Final = 512
"""Per worker; beyond it the one that has been idle longest is closed. With the forwarder's
sockets this stays below the usual limit of 1,024 descriptors, at which accepting would fail for
ever."""
CLIENT_CONNECTIONS_MAX: Final = 128
"""Of one address, a quarter of all: a client needs one (RFC 7766 section 6.2.2), a host full of
containers some dozens, and none may shut everybody else out."""
IDLE_S_MAX: Final = 10.0
"""How long a client may keep a connection for its next query (Knot's default)."""
PARTIAL_S_MAX: Final = 2.0
"""From the first byte of a message to its last: slow senders hold connections on purpose."""
WRITE_STALL_S_MAX: Final = 5.0
"""How long a client may take to read anything at all of what it asked for."""
OUTSTANDING_BYTES_MAX: Final = 256 * 1024
"""Answers a client has not read; at this point its further questions wait in its own kernel."""
SEND_BUFFER_BYTES: Final = 64 * 1024
"""The kernel's share of that. Left to itself it takes megabytes, and then says nothing of a
slow client's progress until a third of them have gone."""
READ_BYTES: Final = 4096
"""A read, hence at most some 200 questions before other clients get their turn."""
ACCEPTS_MAX: Final = 64
SWEEP_S: Final = 0.25
"""How late a deadline may be noticed."""

SendReply = Callable[[bytes], None]

_logger: Final = logging.getLogger(__name__)


class TcpServer:
    """Serves a non-blocking listener; `on_forward` gets a function that takes the reply."""

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        responder: Responder,
        on_forward: Callable[[Forward, SendReply], None],
        hand_over: HandOver | None = None,
    ) -> None:
        self.loop = loop
        self.responder = responder
        self.on_forward = on_forward
        self.hand_over = hand_over
        self._listener = listener
        self._connections: dict[_Connection, None] = {}
        """In the order of their last query."""
        self._by_client: Counter[str] = Counter()
        self._sweeps = False
        loop.register(listener.fileno(), self._accept)

    @property
    def is_busy(self) -> bool:
        """Whether a client waits for an answer, or for us to read it."""
        return not all(one.is_idle for one in self._connections)

    def stop_accepting(self) -> None:
        """The listener is somebody else's from now on."""
        self.loop.unregister(self._listener.fileno())

    def forget(self, connection: "_Connection") -> None:
        if connection in self._connections:
            del self._connections[connection]
            self._by_client[connection.client] -= 1
            if not self._by_client[connection.client]:
                del self._by_client[connection.client]

    def used(self, connection: "_Connection") -> None:
        """It has asked something: others are closed for want of room before it is."""
        self._connections[connection] = self._connections.pop(connection)

    def _accept(self, _events: int) -> None:
        for _ in range(ACCEPTS_MAX):
            try:
                accepted, address = self._listener.accept()
            except OSError:
                return  # none left, or taken by another worker, or gone again
            if not self._has_room(address[0]):
                self.responder.counters.events["tcp_refused"] += 1
                accepted.close()
                continue
            if not self._sweeps:
                self._sweeps = True
                self.loop.call_later(SWEEP_S, self._sweep)
            self._by_client[address[0]] += 1
            self._connections[_Connection(self, accepted, address[0])] = None

    def _has_room(self, client: str) -> bool:
        """For another connection of `client`, perhaps in the place of an idle one."""
        if self._by_client[client] >= CLIENT_CONNECTIONS_MAX:
            return False
        if len(self._connections) < CONNECTIONS_MAX:
            return True
        idle = next((one for one in self._connections if one.is_idle), None)
        if idle is None:
            return False
        self.responder.counters.events["tcp_evicted"] += 1
        idle.close()
        return True

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in [one for one in self._connections if one.deadline < now]:
            connection.close()
        self._sweeps = bool(self._connections)
        if self._sweeps:
            self.loop.call_later(SWEEP_S, self._sweep)


class _Connection:
    def __init__(self, server: TcpServer, accepted: socket.socket, client: str) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.deadline = time.monotonic() + IDLE_S_MAX
        self.client = client
        self._packed_client = packed_address(client)
        self._server = server
        self._socket = accepted
        self._frames = Frames()
        self._out = bytearray()
        self._events = READABLE
        self._was_partial = False
        self._at_end = False
        self._forwarded = 0
        self._answering = False
        server.loop.register(accepted.fileno(), self._ready, READABLE)

    @property
    def is_idle(self) -> bool:
        """Nothing asked that is not answered and read, and nothing half asked."""
        return not (self._out or self._forwarded or self._frames.is_partial)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._server.loop.unregister(self._socket.fileno())
            self._socket.close()
            self._server.forget(self)

    def _ready(self, events: int) -> None:
        try:
            if events & WRITABLE:
                self._flush()
            if events & ~WRITABLE and self._events & READABLE:
                self._read()
            self._answer()
        except BadFrame:
            self._part()
        except OSError:
            self.close()
        except Exception:  # the last resort, as in `responder`: one client, not all of them
            self._server.responder.counters.events["internal_error"] += 1
            _logger.exception("serving %s over TCP failed", self.client)
            self.close()

    def _part(self) -> None:
        """Close, but not before what was asked properly has been answered, if that can be now."""
        with suppress(OSError):
            self._flush()
        self.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        self._at_end = self._at_end or not data
        self._frames.feed(data)

    def _answer(self) -> None:
        self._answering = True
        try:
            self._answer_all()
        finally:
            self._answering = False

    def _answer_all(self) -> None:
        """Take what has come, as long as the client reads what it gets."""
        began_ns = time.perf_counter_ns()
        answered = 0
        waiting = True
        while len(self._out) < OUTSTANDING_BYTES_MAX:
            message = self._frames.next()
            if message is None:
                waiting = False
                break
            self._was_partial = False
            self._server.used(self)
            respond = self._server.responder.respond
            reply = respond(message, tcp=True, client=self._packed_client)
            if isinstance(reply, Forward):
                self._forwarded += 1
                self._server.on_forward(reply, self._forward_reply)
            elif isinstance(reply, HandedOver):
                self._hand_over(message)
                return
            elif reply is None:
                raise BadFrame  # a response: whoever sends that is no client
            else:
                self._out += framed(reply)
                answered += 1
        self._flush()
        if answered:
            took_ns = time.perf_counter_ns() - began_ns
            self._server.responder.counters.tcp_latency.add(took_ns, answered)
        self._settle(waiting)

    def _hand_over(self, message: bytes) -> None:
        """All of the connection goes, unless the client has not read what it asked for before."""
        self._flush()
        if self._server.hand_over is not None and not (self._out or self._forwarded):
            self._server.hand_over.connection(framed(message) + self._frames.rest(), self._socket)
        self.close()

    def _forward_reply(self, reply: bytes) -> None:
        if self._socket.fileno() < 0:
            return
        self._forwarded -= 1
        self._out += framed(reply)
        if not self._answering:  # else it was answered at once, and goes out with the others
            self._ready(0)

    def _flush(self) -> None:
        if not self._out:
            return
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            return
        del self._out[:sent]
        if sent:
            self.deadline = time.monotonic() + WRITE_STALL_S_MAX

    def _settle(self, waiting: bool) -> None:
        """What to wait for next, and until when."""
        if self._at_end and not (self._out or self._forwarded or waiting):
            self.close()
            return
        wants_more = not self._at_end and len(self._out) < OUTSTANDING_BYTES_MAX
        events = (READABLE if wants_more else 0) | (WRITABLE if self._out or waiting else 0)
        if events != self._events:
            self._server.loop.modify(self._socket.fileno(), events)
            self._events = events
        if self._out or waiting:
            return  # `_flush` moves the deadline as long as something gets through
        partial = self._frames.is_partial
        if not partial:
            self.deadline = time.monotonic() + IDLE_S_MAX
        elif not self._was_partial:
            self.deadline = time.monotonic() + PARTIAL_S_MAX
        self._was_partial = partial
