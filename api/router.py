"""Which call a method and a path mean. Plain data; the OpenAPI description reads it too."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from unicodedata import category
from urllib.parse import unquote

SEGMENTS_MAX: Final = 128
"""KV keys may hold slashes, but nobody nests this deep on purpose."""


class Parameter(NamedTuple):
    """A query parameter, for the description."""

    name: str
    description: str
    schema: dict[str, Any] = {"type": "string"}  # noqa: RUF012  never changed


class Route(NamedTuple):
    """One call. `template` names its parts in braces; a last part `{key...}` takes the rest.

    `body` and `answer` are the types of what is sent and answered; `example` is a body.
    """

    method: str
    template: str
    handler: Callable[[Any], Awaitable[Any]]
    summary: str
    body: Any = None
    answer: Any = None
    parameters: Sequence[Parameter] = ()
    statuses: Sequence[int] = (200,)
    media_type: str = "application/json"
    example: Any = None


class Found(NamedTuple):
    route: Route
    parts: list[str]


class WrongMethod(NamedTuple):
    allowed: list[str]


class _Node:
    __slots__ = ("any", "literals", "rest", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.rest: _Node | None = None
        self.routes: dict[str, Route] = {}


class Router:
    """Finds routes by walking a path's segments: one dict look-up each."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in route.template.split("/")[1:]:
                node = _child(node, segment)
            node.routes[route.method] = route

    def find(self, method: str, path: str) -> Found | WrongMethod | None:
        """Raises `ValueError` for a path that is no UTF-8 or holds control characters."""
        encoded = "%" in path or not path.isascii()
        parts: list[str] = []
        node = self._root
        segments = path.split("/", SEGMENTS_MAX)
        for position in range(1, len(segments)):
            segment = segments[position]
            below = node.literals.get(segment)
            if below is None:
                if node.rest is not None:
                    segment = "/".join(segments[position:])
                    parts.append(_decoded(segment) if encoded else segment)
                    return _among(node.rest, method, parts)
                below = node.any
                if below is None or not segment:
                    return None
                parts.append(_decoded(segment) if encoded else segment)
            node = below
        route = node.routes.get(method)
        return _among(node, method, parts) if route is None else Found(route, parts)

    def __iter__(self) -> Iterator[Route]:
        return iter(self.routes)


def _child(node: _Node, segment: str) -> _Node:
    if segment.endswith("...}"):
        node.rest = node.rest or _Node()
        return node.rest
    if segment.startswith("{"):
        node.any = node.any or _Node()
        return node.any
    return node.literals.setdefault(segment, _Node())


def _among(node: _Node, method: str, parts: list[str]) -> Found | WrongMethod | None:
    route = node.routes.get("GET" if method == "HEAD" else method)
    if route is not None:
        return Found(route, parts)
    if not node.routes:
        return None
    allowed = sorted(node.routes)
    return WrongMethod([*allowed, "HEAD"] if "GET" in allowed else allowed)


def _decoded(text: str) -> str:
    decoded = unquote(text, errors="strict")
    decoded.encode()  # aiohttp hands bytes that are no UTF-8 along as surrogates
    if any(category(char) == "Cc" for char in decoded):
        raise ValueError("it holds control characters")
    return decoded
