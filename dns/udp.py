"""UDP without recvmmsg: one packet a call, on any system."""

import socket
from collections.abc import Callable
from time import perf_counter_ns
from typing import Final

from .client_address import packed_address
from .limiter import Limiter
from .mmsg import PACKET_BYTES_MAX, Client
from .reflection import own_source
from .responder import Forward, HandedOver, Responder

PACKETS_MAX: Final = 64
"""Per batch, as in `mmsg`."""


class PlainUdp:
    """Like `mmsg.BatchedUdp`."""

    def __init__(
        self,
        udp: socket.socket,
        responder: Responder,
        on_forward: Callable[[Forward | HandedOver, Client], None],
        *,
        limiter: Limiter | None = None,
    ) -> None:
        self._udp = udp
        self._responder = responder
        self._on_forward = on_forward
        self._limiter = limiter
        self._is_own = own_source(udp)

    def serve(self, batches_max: int) -> None:
        for _ in range(batches_max * PACKETS_MAX):
            try:
                data, address = self._udp.recvfrom(PACKET_BYTES_MAX)
            except OSError:
                return  # nothing there, or an error that an earlier reply came back with
            if self._is_own(address, b""):
                self._responder.counters.events["reflected"] += 1
                continue
            started_ns = perf_counter_ns()
            reply = self._responder.respond(data, client=packed_address(address[0]))
            if isinstance(reply, bytes):
                if self._limiter is not None and not self._responder.vouched:
                    reply = self._limiter.limit(reply, address)
                    if not reply:
                        continue
                try:
                    self._udp.sendto(reply, address)
                except OSError:  # port 0, no route, a full buffer: the next one matters more
                    self._responder.counters.events["unsent"] += 1
            elif reply is not None:
                self._on_forward(reply, Client(address, []))
            self._responder.counters.udp_latency.add(perf_counter_ns() - started_ns)
