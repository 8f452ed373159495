"""One HTTP call as the handlers see it: path parts, query, body, peer."""

import asyncio
import ipaddress
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from ..durations import parse_duration_s
from ..registry import DEFAULT_NAMESPACE, InstanceName, Registry, Topic
from .connections import Connection
from .errors import ApiError, invalid, retry_later
from .inputs import checked_name
from .metrics import Metrics
from .problems import problem_of

BODY_S_MAX: Final = 30.0
"""How long a client may take to send a body: 512 KiB at a modem's speed."""
WAIT_S_DEFAULT: Final = 300.0
WAIT_S_MAX: Final = 600.0
"""Both are Consul's; longer waits outlive the proxies in between."""
STALENESS_MS_MAX: Final = 5000.0
"""Default reads are refused when nothing was heard from the engine for this long."""
QUERY_PARAMETERS_MAX: Final = 200
INDEX_MAX: Final = 2**63 - 1

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_JSON_TYPES: Final = frozenset(
    # What `curl -d` says of its own accord is taken for what its user means.
    ("", "application/json", "application/x-www-form-urlencoded", "application/octet-stream")
)

Body = TypeVar("Body")
Query = dict[str, list[str]]


class Call:
    """Handlers take one of these and return a response, or raise `ApiError`.

    `answering` is set once a streamed answer has begun: what fails after that can only cut it.
    """

    __slots__ = ("_query", "_query_text", "answering", "metrics", "parts", "registry", "request")

    def __init__(
        self,
        request: web.BaseRequest,
        registry: Registry,
        metrics: Metrics,
        parts: list[str],
        query_text: str,
    ) -> None:
        self.request = request
        self.registry = registry
        self.metrics = metrics
        self.parts = parts
        self.answering = False
        self._query_text = query_text
        self._query: Query | None = None

    @property
    def query(self) -> Query:
        """Query parameters with all their values; a flag without a value has an empty one."""
        if self._query is None:
            self._query = _parsed(self._query_text) if self._query_text else {}
        return self._query

    def parameter(self, name: str) -> str | None:
        if not self._query_text:
            return None
        values = self.query.get(name)
        return None if values is None else values[-1]

    def flag(self, name: str) -> bool:
        """On by its mere presence; `false` and `0` switch it off."""
        value = self.parameter(name)
        return value is not None and value.lower() not in ("false", "0")

    def number(self, name: str, maximum: int = INDEX_MAX) -> int | None:
        value = self.parameter(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit()) or len(value) > 20 or int(value) > maximum:
            raise invalid(name, f"{value[:40]!r}: write a whole number from 0 to {maximum}")
        return int(value)

    def duration_s(self, name: str) -> float | None:
        value = self.parameter(name)
        if value is None:
            return None
        try:
            return parse_duration_s(value)
        except ValueError as error:
            raise invalid(name, str(error)) from error

    @property
    def namespace(self) -> str:
        """The namespace as written in the query; checked."""
        return checked_name("namespace", self.parameter("namespace") or DEFAULT_NAMESPACE)

    @property
    def instance_name(self) -> InstanceName:
        """The instance that the path names, folded."""
        service, instance_id = self.parts
        checked_name("service", service)
        checked_name("id", instance_id)
        return InstanceName(self.namespace.lower(), service.lower(), instance_id.lower())

    @property
    def peer_address(self) -> str:
        """Where the call came from; an IPv4 client of an IPv6 socket counts as IPv4."""
        peer = self.request.transport and self.request.transport.get_extra_info("peername")
        if not peer:
            raise invalid("address", "the caller's address is not known: name one")
        address = ipaddress.ip_address(peer[0].partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return str(mapped or address)

    def expect_body(self) -> None:
        """Ask for the body, if the client waits for that (RFC 9110 section 10.1.1)."""
        if self.request.headers.get("Expect", "").lower() == "100-continue":
            transport = self.request.transport
            if transport is not None and not self.request.content.is_eof():
                transport.write(_CONTINUE)

    def check_coding(self) -> None:
        """For bodies that are kept as they come: aiohttp undoes chunks and nothing else."""
        coding = self.request.headers.get("Transfer-Encoding", "chunked")
        if coding.lower() != "chunked":
            raise _unsupported(f"a body with Transfer-Encoding {coding[:80]!r} is not taken")

    async def body(self, limit_bytes: int) -> bytes:
        """The whole body; refused as soon as it is known to be larger than `limit_bytes`."""
        content = self.request.content
        # Most bodies are here already with their headers, and a timer costs as much as
        # everything else about them.
        if not content.is_eof():
            return await self._arriving(limit_bytes)
        body: bytes = content.read_nowait()
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        return body

    async def _arriving(self, limit_bytes: int) -> bytes:
        length = self.request.content_length
        if length is not None and length > limit_bytes:
            raise _too_large(limit_bytes)
        self.expect_body()
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S_MAX):
                while chunk := await self.request.content.readany():
                    body += chunk
                    if len(body) > limit_bytes:
                        raise _too_large(limit_bytes)
        except TimeoutError as error:
            raise late(f"the body was not here after {BODY_S_MAX:.0f} s; send it again") from error
        except web.RequestPayloadError as error:
            raise invalid("body", f"the body breaks off: {error}") from error
        return bytes(body)

    async def json(self, decoder: msgspec.json.Decoder[Body], limit_bytes: int) -> Body:
        """The body as `decoder` reads it; `ApiError` names what is wrong."""
        stated = self.request.headers
        if (media_type := stated.get("Content-Type", "")) != "application/json":
            _check_media_type(media_type)
        if "Content-Encoding" in stated:
            raise _unsupported("a body with Content-Encoding is not taken: send it as it is")
        body = await self.body(limit_bytes)
        try:
            return decoder.decode(body or b"{}")
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise problem_of(error, body) from error

    async def consistent(self) -> None:
        """Wait for what `?consistency` asks for before anything is read."""
        wanted = self.parameter("consistency") or self._consistency_flag()
        if wanted == "strong":
            await self.registry.confirm()
        elif wanted == "default":
            staleness_ms = self.registry.staleness_ms()
            if staleness_ms > STALENESS_MS_MAX:
                raise retry_later(
                    "too_stale",
                    f"nothing was heard from the engine for {staleness_ms / 1000:.1f} s;"
                    " ask with ?consistency=stale for what this node has",
                )
        elif wanted != "stale":
            raise invalid("consistency", f"{wanted[:40]!r}: write default, strong or stale")

    def _consistency_flag(self) -> str:
        """Consul's clients write `?consistent` and `?stale`; the stricter one wins."""
        if self.flag("consistent"):
            return "strong"
        return "stale" if self.flag("stale") else "default"

    async def ready_to_read(
        self, topic: Topic, is_news: Callable[[int], bool] = lambda _: True
    ) -> None:
        """Before a read of `topic`: its consistency, and with `?index` the wait for a change.

        `is_news(index)` says whether a change to `topic` concerns what is read: for those who
        read less than the topic.
        """
        if not self._query_text:
            await self.consistent()
            return
        index = self.number("index")
        wait_s = self.duration_s("wait")
        await self.consistent()
        if index:
            await self.registry.catch_up(index)
        shown = self.registry.index
        # As in Consul, 0 means "now", but on an empty board it is where one waits from. And who
        # has seen more than there is comes from another board: the next change is news to them.
        if index or (index == 0 and not shown):
            wait_s = WAIT_S_DEFAULT if wait_s is None else min(wait_s, WAIT_S_MAX)
            with self.abandoned_with_connection():
                await self._wait_for_news(topic, min(index, shown), wait_s, is_news)

    async def _wait_for_news(
        self, topic: Topic, index: int, wait_s: float, is_news: Callable[[int], bool]
    ) -> None:
        seen = index
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while await self.registry.wait_past(topic, seen, wait_s) and not is_news(index):
                    seen = self.registry.modify_index(topic)

    def abandoned_with_connection(self) -> "Abandoned":
        """While waiting for something that only the client wants: a client that goes ends it."""
        return Abandoned(self.request)


class Abandoned:
    """Cancels the task that is inside when the connection is lost."""

    def __init__(self, request: web.BaseRequest) -> None:
        assert isinstance(request.protocol, Connection)
        self._connection = request.protocol

    def __enter__(self) -> None:
        """Raises `ConnectionError` when it is lost already."""
        if self._connection.transport is None:
            raise ConnectionResetError("the client has gone")
        self._connection.abandon = asyncio.current_task()

    def __exit__(self, *_: object) -> None:
        self._connection.abandon = None


def late(message: str) -> ApiError:
    """For a client that does not send what it announced; the connection is of no more use."""
    return ApiError(408, "timeout", message, close=True)


def _parsed(text: str) -> Query:
    found: Query = {}
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_PARAMETERS_MAX
        )
    except ValueError as error:
        raise invalid("query", f"the query cannot be read: {error}") from error
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _check_media_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in _JSON_TYPES and not media_type.endswith(("+json", "/json")):
        raise _unsupported(f"{media_type[:80]!r} is not JSON: send Content-Type: application/json")


def _unsupported(message: str) -> ApiError:
    return ApiError(415, "unsupported_media_type", message)


def _too_large(limit_bytes: int) -> ApiError:
    return ApiError(
        413, "too_large", f"the body is larger than the {limit_bytes} bytes allowed here", "body"
    )
