"""Sockets that listen, and TLS connections that are counted from the moment they are accepted."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

ACCEPTS_MAX: Final = 64
"""In a row; then those who are connected already get their turn."""

PAUSE_S: Final = 1.0
"""When the system has no descriptor left: the socket would be ready at once again, for nothing."""

_log: Final = logging.getLogger("callboard.listening")

Connect = Callable[[], asyncio.BaseProtocol]


def listening_socket(host: str, port: int, backlog: int) -> socket.socket:
    """Raises `OSError`, whose `strerror` is the system's."""
    made = socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET,
        socket.SOCK_STREAM | socket.SOCK_NONBLOCK,
    )
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made


class TlsListener:
    """Listens from when it is made until `close`, both on the running loop's thread.

    A protocol hears of its connection only after the handshake, so that asyncio's own server
    cannot bound those that never begin one. Here they count, and when `connections_max` is
    reached the oldest of them makes room for whoever comes: a client needs two round trips, and
    a stranger who says nothing loses its place to the next. None is refused but for those that
    are open in earnest.
    """

    def __init__(
        self,
        bound: socket.socket,
        context: ssl.SSLContext,
        connect: Connect,
        *,
        open_count: Callable[[], int],
        connections_max: int,
        handshake_s_max: float,
        goodbye_s_max: float,
    ) -> None:
        """`bound` listens already, and is closed with this; `open_count` tells how many have
        finished their handshake and are open."""
        self._bound = bound
        self._context = context
        self._connect = connect
        self._open_count = open_count
        self._connections_max = connections_max
        self._handshake_s_max = handshake_s_max
        self._goodbye_s_max = goodbye_s_max
        self._handshaking: dict[socket.socket, asyncio.Task[None]] = {}
        """Oldest first."""
        self._pause: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        bound.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Those that are open stay; handshakes under way end, as nothing was asked yet."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._bound.fileno())
        self._bound.close()
        for task in self._handshaking.values():
            task.cancel()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._bound.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_MAX):
            try:
                accepted, _ = self._bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("no connection can be accepted: %s", error.strerror)
                self._make_room()
                self._loop.remove_reader(self._bound.fileno())
                self._pause = self._loop.call_later(PAUSE_S, self._resume)
                return
            accepted.setblocking(False)
            if self._is_full() and not self._make_room():
                _log.warning("refused a connection: %d are open", self._connections_max)
                accepted.close()
                continue
            self._handshaking[accepted] = self._loop.create_task(self._shake_hands(accepted))

    def _is_full(self) -> bool:
        return self._open_count() + len(self._handshaking) >= self._connections_max

    def _make_room(self) -> bool:
        """End the oldest handshake; False when none is under way."""
        if not self._handshaking:
            return False
        oldest = next(iter(self._handshaking))
        del self._handshaking[oldest]
        with suppress(OSError):  # it has just ended by itself
            # Not by cancelling: a transport that has not begun yet would not notice.
            oldest.shutdown(socket.SHUT_RDWR)
        return True

    async def _shake_hands(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._connect,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_s_max,
                ssl_shutdown_timeout=self._goodbye_s_max,
            )
        except (OSError, asyncio.CancelledError):
            pass  # no TLS, no certificate, too late, or gone; `ssl.SSLError` is one of these
        finally:
            self._handshaking.pop(accepted, None)
