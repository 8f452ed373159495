"""Where the API listens: an address that is taken once, by a node that starts, and kept."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from ..listening import TlsListener, listening_socket
from ..tls import GOODBYE_S_MAX, HANDSHAKE_S_MAX
from .connections import CONNECTIONS_MAX, BoundedServer

BACKLOG: Final = 1024
"""Connections that wait to be accepted: a whole fleet that reconnects after a restart."""


class CannotListen(Exception):
    """The address cannot be had; the text is one line for people."""


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """`port` 0 takes a free one. With `tls` only TLS is spoken. More than `connections_max` are
    refused."""

    host: str = "127.0.0.1"
    port: int = 8500
    tls: ssl.SSLContext | None = None
    connections_max: int = CONNECTIONS_MAX


class ApiAddress:
    """Taken when it is made, given back by `close`. Raises `CannotListen`."""

    def __init__(self, config: ApiConfig) -> None:
        self._tls = config.tls
        self._connections_max = config.connections_max
        self._bound = _bind(config)
        host, port = self._bound.getsockname()[:2]
        self.host: str = host
        self.port: int = port

    async def listen(self, server: BoundedServer) -> asyncio.Server | TlsListener:
        """Whoever connects talks to `server`, until what this returns is closed. After that they
        wait for the next who listens; or they are refused, if the address has been closed."""
        server.connections_max = self._connections_max
        bound = self._bound.dup()
        if self._tls is None:
            loop = asyncio.get_running_loop()
            return await loop.create_server(server, sock=bound, backlog=BACKLOG)
        return TlsListener(
            bound,
            self._tls,
            server,
            open_count=lambda: len(server.connections),
            connections_max=self._connections_max,
            handshake_s_max=HANDSHAKE_S_MAX,
            goodbye_s_max=GOODBYE_S_MAX,
        )

    def close(self) -> None:
        self._bound.close()


def _bind(config: ApiConfig) -> socket.socket:
    try:
        return listening_socket(config.host, config.port, BACKLOG)
    except OSError as error:
        raise CannotListen(
            f"HTTP cannot listen on {config.host}:{config.port}: {error.strerror};"
            " choose another address with --http"
        ) from error
