"""Which server to ask next: stay with the one that answers, leave the broken ones for last."""

import os
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from .errors import InvalidArgument

DEFAULT_SERVER: Final = "http://127.0.0.1:8500"
SERVER_VARIABLE: Final = "CALLBOARD_SERVER"

COOL_DOWN_S: Final = 5.0
"""A server that did not answer is asked last for this long, so that calls do not each pay for
finding out again."""


def parse_servers(servers: str | Sequence[str] | None) -> tuple[str, ...]:
    """Base URLs without a slash at the end, from a list or a comma-separated text.

    None means `CALLBOARD_SERVER`, and without it the local node. Raises `InvalidArgument`.
    """
    if servers is None:
        servers = os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER
    texts = servers.split(",") if isinstance(servers, str) else servers
    bases = [_base(text.strip()) for text in texts if text.strip()]
    if not bases:
        raise InvalidArgument("no server is named: write http://HOST:PORT", field="servers")
    return tuple(dict.fromkeys(bases))


def _base(text: str) -> str:
    wrong = InvalidArgument(f"{text!r} is no server: write http://HOST:PORT", field="servers")
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port_is_right = parts.port is None or parts.port > 0
    except ValueError as error:
        raise wrong from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_right:
        raise wrong
    if parts.query or parts.fragment or any(mark.isspace() for mark in text):
        raise wrong
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def shown(server: str) -> str:
    """The URL as it may be told to everybody: without a password in it."""
    parts = urlsplit(server)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class Endpoints:
    """The servers of one client, and what is known of them."""

    def __init__(self, servers: Sequence[str]) -> None:
        assert servers
        self._servers = tuple(servers)
        self._preferred = self._servers[0]
        self._broken_until: dict[str, float] = {}

    def in_order(self, now: float) -> list[str]:
        """All of them: the last that answered, the others as given, the broken ones last."""
        order = sorted(self._servers, key=lambda server: server != self._preferred)
        return sorted(order, key=lambda server: self._broken_until.get(server, now) > now)

    def answered(self, server: str) -> None:
        self._preferred = server
        self._broken_until.pop(server, None)

    def failed(self, server: str, now: float) -> None:
        self._broken_until[server] = now + COOL_DOWN_S

    def __repr__(self) -> str:
        return f"Endpoints({[*map(shown, self._servers)]}, preferred={shown(self._preferred)!r})"
