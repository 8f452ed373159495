"""One HTTP call as the handlers see it: path parts, query, body, peer."""

import asyncio
import ipaddress
from functools import cached_property
from typing import Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from ..registry import DEFAULT_NAMESPACE, InstanceName, Registry, Topic, is_name
from .durations import parse_duration_s
from .errors import ApiError, invalid
from .metrics import Metrics
from .problems import problem_of

BODY_S: Final = 30.0
"""How long a client may take to send a body: 512 KiB at a modem's speed."""
WAIT_S_DEFAULT: Final = 300.0
WAIT_S_MAX: Final = 600.0
"""Both are Consul's; longer waits outlive the proxies in between."""
STALENESS_MS_MAX: Final = 5000.0
"""Default reads are refused when nothing was heard from the engine for this long."""
QUERY_PARAMETERS_MAX: Final = 200
INDEX_MAX: Final = 2**63 - 1

Body = TypeVar("Body")


class Call:
    """Handlers take one of these and return a response, or raise `ApiError`."""

    def __init__(
        self, request: web.BaseRequest, registry: Registry, metrics: Metrics, parts: list[str]
    ) -> None:
        self.request = request
        self.registry = registry
        self.metrics = metrics
        self.parts = parts

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """Query parameters with all their values; a flag without a value has an empty one."""
        _, _, text = self.request.raw_path.partition("?")
        found: dict[str, list[str]] = {}
        if not text:
            return found
        try:
            pairs = parse_qsl(
                text,
                keep_blank_values=True,
                errors="strict",
                max_num_fields=QUERY_PARAMETERS_MAX,
            )
        except ValueError as error:
            raise invalid("query", f"the query cannot be read: {error}") from error
        for name, value in pairs:
            found.setdefault(name, []).append(value)
        return found

    def parameter(self, name: str) -> str | None:
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

    async def bytes(self, limit_bytes: int) -> bytes:
        """The whole body, which may not be larger than `limit_bytes`."""
        length = self.request.content_length
        if length is not None and length > limit_bytes:
            raise _too_large(limit_bytes)
        try:
            # Most bodies are here already with their headers, and a timer costs as much as
            # everything else about them.
            if self.request.content.is_eof():
                body = self.request.content.read_nowait()
            else:
                async with asyncio.timeout(BODY_S):
                    body = await self.request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise _too_large(limit_bytes) from error
        except TimeoutError as error:
            raise ApiError(
                408,
                "timeout",
                f"the body was not here after {BODY_S:.0f} s; send it again",
                headers={"Connection": "close"},
            ) from error
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        return body

    async def json(self, decoder: msgspec.json.Decoder[Body], limit_bytes: int) -> Body:
        """The body as `decoder` reads it; `ApiError` names what is wrong."""
        _check_media_type(self.request.headers.get("Content-Type"))
        body = await self.bytes(limit_bytes)
        try:
            return decoder.decode(body or b"{}")
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise problem_of(error) from error

    async def consistent(self) -> None:
        """Wait for what `?consistency` asks for before anything is read."""
        wanted = self.parameter("consistency") or "default"
        if wanted == "strong":
            await self.registry.confirm()
        elif wanted == "default":
            staleness_ms = self.registry.staleness_ms()
            if staleness_ms > STALENESS_MS_MAX:
                raise ApiError(
                    503,
                    "too_stale",
                    f"nothing was heard from the engine for {staleness_ms / 1000:.1f} s;"
                    " ask with ?consistency=stale for what this node has",
                    headers={"Retry-After": "1"},
                )
        elif wanted != "stale":
            raise invalid("consistency", f"{wanted[:40]!r}: write default, strong or stale")

    async def ready_to_read(self, topic: Topic) -> None:
        """Before a read of `topic`: its consistency, and with `?index` the wait for a change."""
        if self.query:
            index = self.number("index")
            wait_s = self.duration_s("wait")
            await self.consistent()
            if index:
                wait_s = WAIT_S_DEFAULT if wait_s is None else min(wait_s, WAIT_S_MAX)
                await self.registry.wait_past(topic, index, wait_s)
        else:
            await self.consistent()


def checked_name(field: str, name: str) -> str:
    if not is_name(name):
        raise invalid(
            field,
            f"{name[:80]!r} is no {field}: write 1 to 63 letters, digits, '-' and '_', the first"
            " and the last a letter or digit",
        )
    return name


def _check_media_type(content_type: str | None) -> None:
    # What `curl -d` says of its own accord is taken for what its user means.
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type in ("", "application/json", "application/x-www-form-urlencoded", "text/json"):
        return
    if media_type.endswith("+json") or media_type == "application/octet-stream":
        return
    raise ApiError(
        415,
        "unsupported_media_type",
        f"{media_type[:80]!r} is not JSON: send Content-Type: application/json",
    )


def _too_large(limit_bytes: int) -> ApiError:
    return ApiError(
        413, "too_large", f"the body is larger than the {limit_bytes} bytes allowed here", "body"
    )
