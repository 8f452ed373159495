"""Connections that cost nothing but themselves: bounded in number, time and header size."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from .errors import ApiError, body_of
from .responses import Response, Shown, encode

CONNECTIONS_MAX: Final = 10_000
"""At some 10 KB each; one for every instance of a large site that keeps its connection open."""
KEEPALIVE_S: Final = 75.0
"""As long as nginx: pools keep their connections, and a header may not take longer either."""
FIRST_HEADER_S: Final = 10.0
"""How long a new connection may take to say what it wants (slow loris)."""
HEADER_LINE_BYTES_MAX: Final = 8190
HEADERS_MAX: Final = 64

Handler = Callable[[web.BaseRequest], Awaitable[Any]]

_log: Final = logging.getLogger("callboard.api")


class BoundedServer(web.Server):
    """aiohttp's low-level server with our limits."""

    def __init__(self, handler: Handler, shown: Shown) -> None:
        super().__init__(
            handler,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
        )
        self.shown = shown
        self.first_header_s = FIRST_HEADER_S
        self.connections_max = CONNECTIONS_MAX

    def __call__(self) -> "Connection":
        return Connection(self, loop=self._loop, **self._kwargs)


class Connection(RequestHandler):
    """`abandon` is a task that only the client is waiting for: it ends with the connection."""

    __slots__ = ("_first_header", "_server", "abandon")

    def __init__(self, server: BoundedServer, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self.abandon: asyncio.Task[Any] | None = None
        self._server = server
        self._first_header: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._first_header = self._loop.call_later(self._server.first_header_s, self._said_nothing)
        if len(self._server.connections) > self._server.connections_max:
            _log.warning("refused a connection: %d are open", self._server.connections_max)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._first_header is not None:
            self._first_header.cancel()
        if self.abandon is not None:
            self.abandon.cancel()
        super().connection_lost(exc)

    def _said_nothing(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def handle_error(  # type: ignore[override]  # what aiohttp needs of it is in `Response`
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Response:
        """aiohttp's own refusals (what is no HTTP, headers too long), in our form."""
        if status >= 500:
            _log.error("answering failed", exc_info=exc)
        text = (message or "").strip().partition("\n")[0] or "this is no HTTP request"
        code = "bad_request" if status < 500 else "internal"
        body = encode(body_of(ApiError(status, code, text)))
        return Response(self._server.shown, body, status, close=True)
