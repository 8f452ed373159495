"""How an etcd is reached: its endpoints, who we are there, and where our board stands."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

PREFIX_DEFAULT: Final = "callboard/"
PORT_DEFAULT: Final = 2379
TRANSACTION_OPERATIONS_MAX: Final = 128
"""etcd's own default of `--max-txn-ops`, and what somebody else's cluster is likely to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """What `EtcdEngine.open` is told. `endpoints` are URLs: http, https, or `unix:/path`."""

    endpoints: tuple[str, ...]
    prefix: str = PREFIX_DEFAULT
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    transaction_operations_max: int = TRANSACTION_OPERATIONS_MAX
    start_s_max: float = 5.0
    """How long `open` waits for a first answer that a majority stands behind."""


def parse_endpoint(text: str) -> str:
    """A URL in its plain form. Raises `ValueError` that says what to write."""
    if text.startswith("unix:"):
        if not text.removeprefix("unix:").startswith("/"):
            raise ValueError(f"{text!r}: write the absolute path of a socket, unix:/path")
        return text
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or url.path not in {"", "/"}:
        raise ValueError(f"{text!r} is no URL of an etcd: write http://HOST:PORT or https://...")
    if url.username is not None:
        raise ValueError("an etcd URL holds no user: write --etcd-user USER:PASSWORD")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{url.scheme}://{host}:{url.port or PORT_DEFAULT}"


def dial_target(endpoint: str) -> str:
    """`endpoint` as gRPC wants it."""
    return endpoint if endpoint.startswith("unix:") else endpoint.partition("://")[2]
