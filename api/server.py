"""The HTTP listener: connections with limits, calls to handlers, errors to JSON, draining."""

import asyncio
import logging
import socket
import time
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from ..registry import Registry, RegistryError
from .answers import answer, headers
from .call import Call
from .connections import BoundedServer
from .errors import ApiError, body_of, from_registry, invalid
from .metrics import Metrics
from .router import Found, Router, WrongMethod
from .routes import ROUTES

BACKLOG: Final = 1024
"""Connections that wait to be accepted: a whole fleet that reconnects after a restart."""

DRAIN_S: Final = 10.0
"""How long calls under way may take to finish; orchestrators kill 30 s after SIGTERM."""

_log: Final = logging.getLogger("callboard.api")

_DEFECT: Final = ApiError(500, "internal", "this is a defect of callboard; its log says more")


class CannotListen(Exception):
    """The address cannot be had; the text is one line for people."""


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """`port` 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8500


class ApiServer:
    """Create, `await start()`, `await close()`; all from one event loop."""

    def __init__(self, registry: Registry, config: ApiConfig) -> None:
        self.metrics = Metrics(registry)
        self._registry = registry
        self._config = config
        self._router = Router(ROUTES)
        self._runner: web.ServerRunner | None = None
        self._socket: socket.socket | None = None
        self._draining = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port actually bound; valid after `start`."""
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        return host, port

    async def start(self) -> None:
        """Raises `CannotListen`."""
        self._socket = _bind(self._config)
        self._runner = web.ServerRunner(BoundedServer(self._handle), shutdown_timeout=DRAIN_S)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, backlog=BACKLOG).start()

    async def close(self) -> None:
        """Refuse what arrives, let what is under way finish for `DRAIN_S`, then stop."""
        self._draining = True
        self._registry.drain()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        started_ns = time.perf_counter_ns()
        found: Found | None = None
        response: web.StreamResponse
        try:
            found = self._find(request)
            call = Call(request, self._registry, self.metrics, found.parts)
            response = await found.route.handler(call)
        except ApiError as error:
            response = self._refusal(request, error)
        except RegistryError as error:
            response = self._refusal(request, from_registry(error))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001  a defect in one call must not end the connection
            _log.exception("%s %s failed", request.method, request.raw_path)
            response = self._refusal(request, _DEFECT)
        self.metrics.count(
            request.method,
            found.route.template if found else "",
            response.status,
            time.perf_counter_ns() - started_ns,
        )
        return response

    def _find(self, request: web.BaseRequest) -> Found:
        if self._draining:
            retry = {"Retry-After": "1", "Connection": "close"}
            text = "this node is shutting down; ask another"
            raise ApiError(503, "shutting_down", text, headers=retry)
        path = request.raw_path.partition("?")[0]
        try:
            found = self._router.find(request.method, path)
        except ValueError as error:
            raise invalid("path", f"the path is no UTF-8: {error}") from error
        if found is None:
            raise ApiError(404, "not_found", f"there is no {path[:200]!r}; see /docs")
        if isinstance(found, WrongMethod):
            allow = {"Allow": ", ".join([*found.allowed, "OPTIONS"])}
            text = f"{request.method} cannot be done here, only {allow['Allow']}"
            raise ApiError(405, "method_not_allowed", text, headers=allow)
        return found

    def _refusal(self, request: web.BaseRequest, error: ApiError) -> web.StreamResponse:
        if error.status == 405 and request.method == "OPTIONS":
            made = headers(self._registry, None)
            made.update(error.headers)
            return web.Response(status=204, headers=made)
        return answer(self._registry, body_of(error), error.status, error.headers)


def _bind(config: ApiConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((config.host, config.port))
    except OSError as error:
        made.close()
        raise CannotListen(
            f"HTTP cannot listen on {config.host}:{config.port}: {error.strerror};"
            " choose another address with --http"
        ) from error
    return made
