"""Connections that cost nothing but themselves: bounded in number, time and header size."""

import asyncio
import logging
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from .answers import SERVER, encode
from .errors import ApiError, body_of

CONNECTIONS_MAX: Final = 10_000
"""At some 10 KB each; one for every instance of a large site that keeps its connection open."""
KEEPALIVE_S: Final = 75.0
"""As long as nginx: pools keep their connections, and a header may not take longer either."""
FIRST_HEADER_S: Final = 10.0
"""How long a new connection may take to say what it wants (slow loris)."""
HEADER_LINE_BYTES_MAX: Final = 8190
HEADERS_MAX: Final = 64
BODY_BYTES_MAX: Final = 16 * 2**20
"""The largest any call takes whole; most take far less. Snapshots are streamed to a file."""

_log: Final = logging.getLogger("callboard.api")


class BoundedServer(web.Server):
    """aiohttp's low-level server with our limits."""

    def __init__(self, handler: Any) -> None:
        super().__init__(
            handler,
            request_factory=_request,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
        )

    def __call__(self) -> "_Connection":
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    __slots__ = ("_first_header",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self._manager is not None
        self._first_header = self._loop.call_later(FIRST_HEADER_S, self._said_nothing)
        if len(self._manager.connections) > CONNECTIONS_MAX:
            _log.warning("refused a connection: %d are open", CONNECTIONS_MAX)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._first_header.cancel()
        super().connection_lost(exc)

    def _said_nothing(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp's own refusals (what is no HTTP, headers too long), in our form."""
        if status >= 500:
            _log.error("answering failed", exc_info=exc)
        text = (message or "").strip().partition("\n")[0] or "this is no HTTP request"
        code = "bad_request" if status < 500 else "internal"
        error = ApiError(status, code, text)
        response = web.Response(
            body=encode(body_of(error)),
            status=status,
            headers={"Content-Type": "application/json", "Server": SERVER},
        )
        response.force_close()
        return response


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=BODY_BYTES_MAX
    )
