"""The HTTP listener: connections with limits, calls to handlers, errors to JSON, draining."""

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from ..listening import TlsListener
from ..registry import Registry, RegistryError
from .call import Call
from .connections import BoundedServer
from .errors import ApiError, body_of, from_registry, invalid, retry_later
from .listener import ApiAddress
from .metrics import Metrics
from .responses import CutOff, Response, encode, no_content
from .router import Found, Router, WrongMethod
from .routes import ROUTES

DRAIN_S: Final = 10.0
"""How long calls under way may take to finish; orchestrators kill 30 s after SIGTERM."""

CUT_S: Final = 1.0
"""How long those that are still not done have between being cancelled and being cut off."""

_log: Final = logging.getLogger("callboard.api")

_ABSOLUTE: Final = re.compile(r"^https?://[^/]*", re.IGNORECASE)
"""RFC 9112 section 3.2.2: a server must take `http://host/path` for a path, too."""

_CHANGES_NOTHING: Final = frozenset(("GET", "HEAD", "OPTIONS"))

_DEFECT: Final = ApiError(500, "internal", "this is a defect of callboard; its log says more")


class ApiServer:
    """Create, `await start()`, `await close()`; all from one event loop."""

    def __init__(self, registry: Registry, address: ApiAddress) -> None:
        self.metrics = Metrics(registry)
        self._registry = registry
        self._address = address
        self._router = Router(ROUTES)
        self._connections = BoundedServer(self._handle, registry)
        self._listener: asyncio.Server | TlsListener | None = None
        self._draining = False
        self._under_way = 0
        self._nothing_under_way = asyncio.Event()
        self.metrics.add(self._load)

    def _load(self) -> Iterator[Metric]:
        connections = len(self._connections.connections)
        yield GaugeMetricFamily(
            "callboard_http_connections", "Open HTTP connections.", value=connections
        )
        yield GaugeMetricFamily(
            "callboard_http_requests_under_way",
            "Calls being answered, blocking reads and watches among them.",
            value=self._under_way,
        )

    async def start(self) -> None:
        self._listener = await self._address.listen(self._connections)
        self._address.close()  # nobody listens after us: then they must not wait

    async def close(self) -> None:
        """Refuse what arrives, let what is under way finish for `DRAIN_S`, then stop."""
        self._draining = True
        self._registry.drain()
        if self._listener is None:
            return
        self._listener.close()
        # aiohttp would not even read the rest of a body once it has been told to stop.
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._nothing_begun()
        self._connections.pre_shutdown()
        await self._connections.shutdown(CUT_S)
        self._listener = None

    async def _nothing_begun(self) -> None:
        """Wait until no call is under way."""
        if self._under_way:
            await self._nothing_under_way.wait()

    async def _handle(self, request: web.BaseRequest) -> Response | CutOff | web.StreamResponse:
        self._under_way += 1
        try:
            response = await self._answered(request)
        finally:
            self._under_way -= 1
            if self._draining and not self._under_way:
                self._nothing_under_way.set()
        if self._draining and isinstance(response, Response):
            response.close = True
        return response

    async def _answered(self, request: web.BaseRequest) -> Response | CutOff | web.StreamResponse:
        started_ns = time.perf_counter_ns()
        path, _, query_text = request.raw_path.partition("?")
        template = ""
        call: Call | None = None
        response: Response | web.StreamResponse
        try:
            _refuse_cross_site(request)
            route, parts = self._find(request.method, path)
            template = route.template
            call = Call(request, self._registry, self.metrics, parts, query_text)
            response = await route.handler(call)
        except ConnectionError:
            return CutOff()
        except Exception as error:  # noqa: BLE001  # a defect in one call must not harm others
            response = self._refusal(request, error)
            if call is not None and call.answering:
                return CutOff()
        self.metrics.count(
            request.method, template, response.status, time.perf_counter_ns() - started_ns
        )
        return response

    def _find(self, method: str, path: str) -> Found:
        if not path.startswith("/"):
            path = _ABSOLUTE.sub("", path)
        if self._draining:
            text = "this node is shutting down; ask another"
            raise retry_later("shutting_down", text, close=True)
        try:
            found = self._router.find(method, path)
        except ValueError as error:
            raise invalid("path", f"the path cannot be read: {error}") from error
        if found is None:
            raise ApiError(404, "not_found", f"there is no {path[:200]!r}; see /docs")
        if isinstance(found, WrongMethod):
            allow = ", ".join([*found.allowed, "OPTIONS"])
            text = f"{method[:20]} cannot be done here, only {allow}"
            raise ApiError(405, "method_not_allowed", text, headers={"Allow": allow})
        return found

    def _refusal(self, request: web.BaseRequest, error: Exception) -> Response:
        if isinstance(error, RegistryError):
            error = from_registry(error)
        elif not isinstance(error, ApiError):
            _log.error("%s %r failed", request.method, request.raw_path, exc_info=error)
            error = _DEFECT
        if error.status == 405 and request.method == "OPTIONS":
            return no_content(self._registry, error.headers)
        body = encode(body_of(error))
        return Response(self._registry, body, error.status, extra=error.headers, close=error.close)


def _refuse_cross_site(request: web.BaseRequest) -> None:
    """Keep web pages from driving a node that only its own host reaches.

    A browser lets any page post a form to loopback, and says in a header that no page can set
    where it came from (W3C Fetch Metadata). Reading the answer it denies the page by itself.
    """
    if request.method in _CHANGES_NOTHING:
        return
    if request.headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
        raise ApiError(403, "cross_site", "web pages of other sites may not change anything here")
