"""Where other nodes bring the renewals that reached them."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from ...listening import TlsListener, listening_socket
from ...tls import GOODBYE_S_MAX
from .messages import (
    HELLO_BYTES_MAX,
    Garbage,
    Hello,
    NotKeeper,
    Renew,
    Renewed,
    decode_question,
    encode,
    read_payload,
)

CONNECTIONS_MAX: Final = 256
"""One from each node of a cluster, several times over; TLS handshakes count from accept on."""
BACKLOG: Final = 128
"""Connections that wait to be accepted: every node of a cluster at once."""
HELLO_S_MAX: Final = 5.0
"""How long a connection may take to say who it is, its TLS handshake included."""
MESSAGE_S_MAX: Final = 60.0
"""A node asks when its clients renew; one that is silent for longer connects again."""

Renewing = Callable[[int, Sequence[bytes]], Awaitable[list[int] | None]]
"""Renews keys once an index is shown: positions of the unknown, or None for no keeper."""

_log: Final = logging.getLogger("callboard.relay")


class CannotListen(Exception):
    """The address cannot be listened on; the message names it and what to do."""


class RelayListener:
    """`await start()`, then `address` is what to tell the others; `await close()`."""

    def __init__(self, cluster: str, renewing: Renewing, tls: ssl.SSLContext | None = None) -> None:
        """`cluster` is what a caller has to name: nodes of another one are turned away."""
        self._cluster = cluster
        self._renewing = renewing
        self._tls = tls
        self._server: asyncio.Server | TlsListener | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Raises `CannotListen`."""
        try:
            bound = listening_socket(host, port, BACKLOG)
        except OSError as error:
            raise CannotListen(
                f"nodes cannot be listened for on {host}:{port}: {error.strerror};"
                " choose another address with --calls"
            ) from error
        self.port = bound.getsockname()[1]
        if self._tls is None:
            self._server = await asyncio.start_server(self._connected, sock=bound)
            return
        self._server = TlsListener(
            bound,
            self._tls,
            self._protocol,
            open_count=lambda: len(self._connections),
            connections_max=CONNECTIONS_MAX,
            handshake_s_max=HELLO_S_MAX,
            goodbye_s_max=GOODBYE_S_MAX,
        )

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._connected)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except Garbage as error:
            _log.warning("closed a connection of %s: %s", _peer(writer), error)
        except (OSError, EOFError, TimeoutError, ssl.SSLError):
            pass  # it went, or it slept: its node connects again when it has something to say
        except asyncio.CancelledError:
            pass  # this node is stopping
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HELLO_S_MAX):
            hello = decode_question(await read_payload(reader, HELLO_BYTES_MAX))
        if not isinstance(hello, Hello) or hello.cluster != self._cluster:
            raise Garbage("it belongs to another cluster")
        while True:
            async with asyncio.timeout(MESSAGE_S_MAX):
                question = decode_question(await read_payload(reader))
            if not isinstance(question, Renew):
                raise Garbage("a greeting in the middle of a conversation")
            unknown = await self._renewing(question.index, question.keys)
            writer.write(encode(NotKeeper() if unknown is None else Renewed(unknown)))
            async with asyncio.timeout(MESSAGE_S_MAX):
                await writer.drain()


def _peer(writer: asyncio.StreamWriter) -> str:
    with suppress(OSError, TypeError, IndexError):
        return str(writer.get_extra_info("peername")[0])
    return "somebody"
