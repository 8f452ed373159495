"""Answers on their way out: one write each, because most of them are small and many."""

import asyncio
import time
from collections.abc import Awaitable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

JSON: Final = "application/json"
SERVER: Final = "callboard"
"""Which version runs is in `/v1/status`, for those who may ask there."""
SEND_S_MAX: Final = 30.0
"""A reader that takes nothing for this long has gone, or is holding memory on purpose."""
UNSENT_BYTES_MAX: Final = 64 * 1024
"""What may wait in a connection's buffer before its next request is read: asyncio's own mark."""

encode: Final = msgspec.json.Encoder().encode

_START: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class Shown(Protocol):
    """What of the board answers are given from, as their headers tell it: a `Registry`."""

    @property
    def index(self) -> int: ...

    def staleness_ms(self) -> float: ...


class Response:
    """A whole answer: what aiohttp asks of a response, and nothing else.

    `aiohttp.web.Response` keeps its headers in a multidict, and prepares, serialises and writes
    them in five steps, for the case that somebody changes them on the way. That takes a quarter
    of the time of a registration.
    """

    __slots__ = (
        "_content_type",
        "_extra",
        "_index",
        "_staleness_ms",
        "body",
        "close",
        "keep_alive",
        "status",
    )

    def __init__(
        self,
        shown: Shown,
        body: bytes,
        status: int = 200,
        *,
        content_type: str = JSON,
        extra: dict[str, str] | None = None,
        close: bool = False,
    ) -> None:
        self.status = status
        self.body = body
        self.keep_alive = not close
        self._index = shown.index
        self._staleness_ms = shown.staleness_ms()
        self._content_type = content_type
        self._extra = extra
        self.close = close

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send everything. Raises `ConnectionError` when nobody takes it."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self.keep_alive = request.keep_alive and not self.close
        head = self._head(request)
        transport.write(head if request.method == "HEAD" else head + self.body)
        if transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            await taken(request, request.writer.drain())

    async def write_eof(self) -> None:
        """All has been sent."""

    def _head(self, request: web.BaseRequest) -> bytes:
        head = b"%sX-Callboard-Index: %d\r\nX-Callboard-Staleness-Ms: %d\r\n%s" % (
            _START[self.status],
            self._index,
            self._staleness_ms,
            _date_and_server(),
        )
        if self.status != 204:  # RFC 9110 section 8.6: a 204 has no Content-Length
            typed = self._content_type.encode("ascii")
            head += b"Content-Type: %s\r\nContent-Length: %d\r\n" % (typed, len(self.body))
        if self._extra:
            head += b"".join(_line(name, value) for name, value in self._extra.items())
        if not self.keep_alive:
            return head + b"Connection: close\r\n\r\n"
        if request.version < (1, 1):
            return head + b"Connection: keep-alive\r\n\r\n"
        return head + b"\r\n"


class CutOff:
    """In place of the rest of an answer: ends the connection where it stands, so that what was
    sent cannot be taken for the whole."""

    status: Final = 0
    keep_alive: Final = False

    async def prepare(self, request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the answer was cut off")


def answer(
    shown: Shown, value: Any, status: int = 200, extra: dict[str, str] | None = None
) -> Response:
    """`value` as JSON."""
    return Response(shown, encode(value), status, extra=extra)


def no_content(shown: Shown, extra: dict[str, str] | None = None) -> Response:
    return Response(shown, b"", 204, extra=extra)


def headers(shown: Shown, content_type: str) -> dict[str, str]:
    """What every streamed answer carries, as `Response` does by itself."""
    return {
        "X-Callboard-Index": str(shown.index),
        "X-Callboard-Staleness-Ms": f"{shown.staleness_ms():.0f}",
        "Server": SERVER,
        "Content-Type": content_type,
    }


async def taken(request: web.BaseRequest, writing: Awaitable[None]) -> None:
    """Wait for `writing`. Raises `ConnectionError` when the reader has gone or takes nothing."""
    try:
        async with asyncio.timeout(SEND_S_MAX):
            await writing
    except TimeoutError as error:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the reader takes nothing") from error


def _line(name: str, value: str) -> bytes:
    line = f"{name}: {value}"
    assert line.isprintable(), "a header must not end its own line"
    return line.encode("ascii") + b"\r\n"


class _Second:
    """The Date header of this second: made once, used by every answer in it."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = b""

    def __call__(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._lines = f"Date: {formatdate(now, usegmt=True)}\r\nServer: {SERVER}\r\n".encode()
        return self._lines


_date_and_server: Final = _Second()
