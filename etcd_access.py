"""How a user writes where an etcd is and who they are there."""

import re
from dataclasses import dataclass, field
from typing import Final

from .addresses import parse_address

PORT_DEFAULT: Final = 2379

_NO_PORT: Final = re.compile(r"[^:/]+|\[[^]]+\]")


@dataclass(frozen=True, slots=True)
class EtcdUser:
    """Whom etcd knows; the password is never shown."""

    name: str
    password: str = field(repr=False)


def parse_etcd_urls(text: str) -> tuple[str, ...]:
    """The URLs of `text`, separated by commas. Raises `ValueError` that says what to write."""
    urls = [_plain_url(part.strip()) for part in text.split(",") if part.strip()]
    if not urls:
        raise ValueError("it names no etcd: write http://HOST:PORT, or several with commas")
    return tuple(dict.fromkeys(urls))


def _plain_url(text: str) -> str:
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(f"{text!r}: write the absolute path of a socket, unix:/path")
        return f"unix:{path}"
    scheme, separator, host = text.partition("://")
    if "@" in host:
        raise ValueError("a URL of etcd holds no user: write it as --etcd-user USER:PASSWORD")
    if scheme not in {"http", "https"} or not separator:
        raise ValueError(f"{text!r} is no URL of an etcd: write http://HOST:PORT or https://...")
    host = host.removesuffix("/")
    if _NO_PORT.fullmatch(host):
        host = f"{host}:{PORT_DEFAULT}"
    return f"{scheme}://{parse_address(host)}"


def parse_etcd_user(text: str) -> EtcdUser:
    """`USER:PASSWORD`. Raises `ValueError`, which does not repeat it."""
    name, colon, password = text.partition(":")
    if not name or not colon:
        raise ValueError("write USER:PASSWORD")
    return EtcdUser(name, password)


def parse_etcd_prefix(text: str) -> str:
    """With a `/` at its end. Raises `ValueError`."""
    prefix = text.rstrip("/") + "/"
    if prefix == "/" or len(prefix) > 128 or not prefix.isprintable():
        raise ValueError(f"{text!r} cannot stand before keys: write up to 127 characters")
    return prefix
