"""What services, namespaces, instances, tags and KV keys may be called, and their stored keys."""

import re
from typing import Final, NamedTuple

NAME_CHARS_MAX: Final = 63
"""One DNS label (RFC 1035 section 2.3.4): every name must fit into one."""
TAG_CHARS_MAX: Final = 128
KV_KEY_BYTES_MAX: Final = 512
"""Generous for a path, small enough that a listing of keys stays a listing."""

DEFAULT_NAMESPACE: Final = "default"

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", re.ASCII)

INSTANCE_PREFIX: Final = b"i/"
KV_PREFIX: Final = b"k/"
RENEWED_PREFIX: Final = b"r/"
"""One key for each node, written when it cannot reach the keeper: the keys that it renews."""
HELD_KEY: Final = b"h/held"
"""Written by the keeper while the mass-expiry guard holds leases back: for how long already."""


class InstanceName(NamedTuple):
    """Which instance: folded to lower case, because names that differ in case are one name."""

    namespace: str
    service: str
    id: str


def is_name(text: str) -> bool:
    """Whether `text` may name a service, a namespace or an instance."""
    return _NAME.fullmatch(text) is not None


def instance_key(name: InstanceName) -> bytes:
    """The engine's key of an instance; names hold no "/", so the parts stay apart."""
    return f"i/{name.namespace}/{name.service}/{name.id}".encode("ascii")


def instance_name(key: bytes) -> InstanceName:
    """The inverse of `instance_key`. Raises `ValueError` for a key that is none."""
    _, namespace, service, instance_id = key.decode("ascii").split("/")
    return InstanceName(namespace, service, instance_id)


def kv_key(key: str) -> bytes:
    return KV_PREFIX + key.encode()


def kv_name(key: bytes) -> str:
    return key[len(KV_PREFIX) :].decode()
