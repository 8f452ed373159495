"""From a node that was killed to the next one, without a gap in DNS.

A worker that has lost its node goes on answering and offers its sockets at a Unix socket that is
named after the DNS address, in Linux's abstract namespace: like the port, that name belongs to
the network namespace, and nothing is left behind in a file system. The next node connects, gets
the sockets themselves (so that no packet that waits in them is lost), starts workers of its own
on them, and then tells the old ones to leave. Should it end before, nothing has changed.
"""

import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from .loop import Loop

PLACES_MAX: Final = 64
"""Workers of one node that are looked for; `settings.DNS_WORKERS_MAX` allows no more."""
ANSWER_S_MAX: Final = 1.0
"""How long an offering worker may take: it looks at its loop after each millisecond's work."""
DISCARD_PORT: Final = 9
"""RFC 863."""

_LEAVE: Final = b"L"
_EMPTY_AND_LEAVE: Final = b"E"
"""To a worker whose UDP socket is one too many for the next node."""
_CREDENTIALS: Final = struct.Struct("3i")
_OFFERED: Final = 2


class Offer:
    """A worker's sockets, to be had by the next node of the same user. Raises `OSError` when
    there can be no offer.

    `on_leave` is called when that answers, and told whether anybody else reads the UDP socket.
    """

    def __init__(
        self,
        loop: Loop,
        number: int,
        sockets: tuple[socket.socket, socket.socket],
        on_leave: Callable[[bool], None],
    ) -> None:
        """`sockets` are those for UDP and TCP; `number` is the worker's place in its row."""
        self._loop = loop
        self._sockets = sockets
        self._on_leave = on_leave
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        host, port = sockets[0].getsockname()[:2]
        self._listener.bind(_name(host, port, number))
        self._listener.listen()
        self._heir: socket.socket | None = None
        loop.register(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Withdraw it: the name is free for the next node's workers."""
        for one in (self._listener, self._heir):
            if one is not None:
                self._loop.unregister(one.fileno())
                one.close()
        self._heir = None

    def _accept(self, _events: int) -> None:
        with suppress(OSError):
            heir, _ = self._listener.accept()
            if not _is_ours(heir) or self._heir is not None:
                heir.close()
                return
            heir.setblocking(False)
            self._heir = heir
            self._loop.register(heir.fileno(), self._hear)
            socket.send_fds(heir, [b"S"], [one.fileno() for one in self._sockets])

    def _hear(self, _events: int) -> None:
        assert self._heir is not None
        said = b""
        with suppress(OSError):
            said = self._heir.recv(1)
        self._loop.unregister(self._heir.fileno())
        self._heir.close()
        self._heir = None
        if said:
            self._on_leave(said == _LEAVE)


class Inheritance:
    """What workers without a node have offered: their sockets, and the word they wait for."""

    def __init__(self) -> None:
        self.udp: list[socket.socket] = []
        self.tcp: list[socket.socket] = []
        """All the same one, if there are several."""
        self._links: list[socket.socket] = []

    def add(self, link: socket.socket) -> None:
        """Raises `OSError`."""
        _, fds, _, _ = socket.recv_fds(link, 1, _OFFERED)
        self._links.append(link)
        received = [socket.socket(fileno=fd) for fd in fds]
        for one in received:
            one.setblocking(False)
            (self.udp if one.type == socket.SOCK_DGRAM else self.tcp).append(one)

    def dismiss(self, kept: int) -> None:
        """We answer, at the first `kept` sockets for UDP: tell the old workers to leave."""
        for number, link in enumerate(self._links):
            with suppress(OSError):
                link.send(_LEAVE if number < kept else _EMPTY_AND_LEAVE)
        self.release()

    def release(self) -> None:
        """Let go of the links; the sockets are whose they are by now."""
        for link in self._links:
            link.close()
        self._links.clear()

    def close(self) -> None:
        """Want none of it."""
        self.release()
        for one in (*self.udp, *self.tcp):
            one.close()


def inherit(host: str, port: int) -> Inheritance | None:
    """The sockets of workers that go on answering at this address without a node."""
    found = Inheritance()
    for number in range(PLACES_MAX):
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(ANSWER_S_MAX)
        try:
            link.connect(_name(host, port, number))
            if not _is_ours(link):
                raise PermissionError(f"{host}:{port} is offered by another user")
            found.add(link)
        except OSError:  # nobody there, or nobody to be trusted
            link.close()
    if found.udp and found.tcp:
        return found
    found.close()
    return None


def turn_away(udp: socket.socket) -> None:
    """Let the kernel give new packets to the other sockets at this port, or refuse them.

    A socket that is closed takes along what arrived since it was last read. One that is connected
    gets its peer's packets alone, so it can be emptied first; nobody sends from the discard port.
    """
    with suppress(OSError):  # closed, or without a way to ourselves: then what comes late is lost
        udp.connect((udp.getsockname()[0], DISCARD_PORT))


def _name(host: str, port: int, number: int) -> str:
    return f"\0callboard-dns/{host}:{port}/{number}"


def _is_ours(peer: socket.socket) -> bool:
    """Abstract names are open to every user: the other end must be us, or root."""
    size = _CREDENTIALS.size
    _, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid in (0, os.geteuid())
