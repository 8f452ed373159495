"""One server: connected to when somebody calls, and again when the connection has broken."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from .blocks import headers
from .status import NotSent, RpcError, StatusCode
from .wire import Wire

CONNECT_S_MAX: Final = 2.0
"""On a network that holds an etcd together, who has not answered by then is away."""

_NO_CONNECTION: Final = "it takes no connection in time"
_HUNG_UP: Final = "it closes the connection"
_TAKES_NONE: Final = "it takes no calls"
_STOPPING: Final = "this node is stopping"

Metadata = tuple[tuple[str, str], ...]


class Target(NamedTuple):
    """Where a server is: a host and a port, or else the path of a socket."""

    host: str
    port: int
    path: str = ""
    tls: ssl.SSLContext | None = None

    @property
    def authority(self) -> str:
        if self.tls is None:
            return "localhost"  # a socket has no name, and etcd does not mind
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _note_heard(future: asyncio.Future[Any]) -> None:
    """Perhaps nobody is left who asks how it ended; a loop complains of that."""
    if not future.cancelled():
        future.exception()


class _Answer:
    """Of a call that has one message for an answer."""

    def __init__(self) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._payload: bytes | None = None

    def message(self, payload: bytes) -> None:
        self._payload = payload

    def ended(self, error: RpcError | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        elif self._payload is None:
            self.future.set_exception(RpcError(StatusCode.INTERNAL, "there is no answer in it"))
        else:
            self.future.set_result(self._payload)


class Stream:
    """The messages of one call: `take` is given each when it comes, `end` is when no more will;
    it raises `RpcError`, or what `take` has raised."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.end.add_done_callback(_note_heard)  # who leaves early does not ask how it ended

    def message(self, payload: bytes) -> None:
        if self.end.done():
            return
        try:
            self._take(payload)
        except Exception as error:  # noqa: BLE001  # a defect: it belongs to whoever waits
            self.end.set_exception(error)

    def ended(self, error: RpcError | None) -> None:
        if self.end.done():
            return
        if error is None:
            self.end.set_result(None)
        else:
            self.end.set_exception(error)

    def cancel(self) -> None:
        """Nothing more is wanted."""
        self.ended(None)


class Channel:
    """Calls to the server at `target`, which share a connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._scheme = "http" if target.tls is None else "https"
        self._wire: Wire | None = None
        self._wires: set[Wire] = set()
        """Those too which take no more calls, and have some under way."""
        self._connecting: asyncio.Task[Wire] | None = None
        self._closed = False

    async def call(self, path: str, metadata: Metadata, message: bytes, timeout_s: float) -> bytes:
        """The answer. Raises `RpcError`; what is `NotSent` has certainly not been done."""
        wire = None
        try:
            async with asyncio.timeout(timeout_s):
                wire = await self._connected()
                answer = _Answer()
                call = wire.begin(self._headers(path, metadata), message, answer, ends=True)
                try:
                    return await answer.future
                finally:
                    wire.forget(call)
        except TimeoutError:
            if wire is None:
                raise NotSent(_NO_CONNECTION) from None
            raise RpcError(StatusCode.DEADLINE_EXCEEDED, "no answer in time") from None

    @asynccontextmanager
    async def stream(
        self, path: str, metadata: Metadata, message: bytes, take: Callable[[bytes], None]
    ) -> AsyncIterator[Stream]:
        """What answers `message`; the call ends with the block. Raises `NotSent`."""
        wire = await self._connected()
        stream = Stream(take)
        call = wire.begin(self._headers(path, metadata), message, stream, ends=False)
        try:
            yield stream
        finally:
            wire.forget(call)

    def _headers(self, path: str, metadata: Metadata) -> bytes:
        return headers(self._scheme, self._target.authority, path, metadata)

    async def _connected(self) -> Wire:
        wire = self._wire
        if wire is not None and wire.takes_calls:
            await wire.hear()
        while wire is None or not wire.takes_calls:  # a new one may be full when we are told of it
            wire = await self._new_wire()
        return wire

    async def _new_wire(self) -> Wire:
        if self._closed:
            raise NotSent(_STOPPING)
        connecting = self._connecting
        if connecting is None:
            connecting = asyncio.create_task(self._connect(), name="etcd-connect")
            connecting.add_done_callback(self._note_connected)
            self._connecting = connecting
        await asyncio.wait([connecting])  # others wait for it too, if this one gives up
        if connecting.cancelled():
            raise NotSent(_STOPPING)
        return connecting.result()

    def _note_connected(self, connecting: asyncio.Task[Wire]) -> None:
        self._connecting = None
        _note_heard(connecting)

    async def _connect(self) -> Wire:
        """One that takes calls. Raises `NotSent`."""
        wire = Wire()
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                await self._open(wire)
                self._wires.add(wire)
                wire.lost.add_done_callback(lambda _: self._wires.discard(wire))
                await wire.ready
        except TimeoutError:
            wire.abort(_NO_CONNECTION)
            raise NotSent(_NO_CONNECTION) from None
        except OSError as error:
            raise NotSent(error.strerror or str(error) or _HUNG_UP) from error
        except UnicodeError as error:  # of a host that no resolver can be asked for
            raise NotSent(str(error)) from error
        except asyncio.CancelledError:
            wire.abort(_STOPPING)
            raise
        if not wire.takes_calls:
            raise NotSent(_TAKES_NONE)
        self._wire = wire
        return wire

    async def _open(self, wire: Wire) -> None:
        loop, target = asyncio.get_running_loop(), self._target
        if target.path:
            await loop.create_unix_connection(lambda: wire, target.path)
        else:
            await loop.create_connection(lambda: wire, target.host, target.port, ssl=target.tls)

    async def close(self) -> None:
        """Calls that are under way fail, and so do later ones. Safe to repeat."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        for wire in tuple(self._wires):
            wire.abort(_STOPPING)
            await asyncio.wait([wire.lost])
