"""From a registered instance to the record that the DNS workers keep of it."""

import socket
import struct
from functools import lru_cache
from typing import Final

import msgspec

from ..registry.instance import HANDED_OUT, Instance, Port
from .names import service_key
from .record import FIXED, HOST, IPV4, IPV6, NO_ADDRESS, WITHHELD
from .wire import LABEL_BYTES_MAX, labels_of, name_bytes

EXTRAS_KEPT_MAX: Final = 256
"""Instances of a service differ in their addresses, seldom in tags, ports or meta. With the
largest that may be registered these are some 20 MB."""
_SHORT_MAX: Final = 0xFFFF
_DEFAULT_PROTOCOL: Final = "tcp"
_encoder: Final = msgspec.msgpack.Encoder()


def key_of(namespace: str, service: str) -> bytes:
    """The service's key in a worker's store."""
    return service_key(namespace.lower().encode("ascii"), service.lower().encode("ascii"))


def id_prefix(instance_id: str) -> bytes:
    """The start of the instance's record; alone it says in the feed that the instance is gone."""
    folded = instance_id.lower().encode("ascii")
    return bytes((len(folded),)) + folded


def pack_record(instance: Instance, weight_scale: int = 1) -> bytes:
    """Never raises: what DNS cannot express is left out. SRV weights are `weight_scale` times
    those registered, as far as 16 bits go."""
    kind, address = _pack_address(instance.address)
    if instance.status not in HANDED_OUT:
        kind |= WITHHELD
    numbers = instance.priority, instance.weight * weight_scale, instance.port or 0
    try:
        fixed = FIXED.pack(kind, *numbers)
    except struct.error:
        fixed = FIXED.pack(kind, *map(_clamped, numbers))
    return id_prefix(instance.id) + fixed + address + _extras(instance)


def _pack_address(address: str) -> tuple[int, bytes]:
    try:
        if ":" in address:
            return IPV6, socket.inet_pton(socket.AF_INET6, address)
        if address.rpartition(".")[2].isdigit():
            return IPV4, socket.inet_pton(socket.AF_INET, address)
        name = name_bytes(labels_of(address))
        return HOST, bytes((len(name),)) + name
    except (OSError, ValueError):
        return NO_ADDRESS, b""


def _extras(instance: Instance) -> bytes:
    meta, ports = instance.meta, instance.ports
    if not (instance.tags or meta or ports or instance.protocol.lower() != _DEFAULT_PROTOCOL):
        return b""
    return _pack_extras(instance.protocol, instance.tags, tuple(ports.items()), tuple(meta.items()))


@lru_cache(EXTRAS_KEPT_MAX)
def _pack_extras(
    protocol: str,
    tags: tuple[str, ...],
    ports: tuple[tuple[str, Port], ...],
    meta: tuple[tuple[str, str], ...],
) -> bytes:
    labels = [label for tag in tags if (label := _label(tag))]
    numbers = [
        (name.lower().encode(), named.protocol.lower().encode(), _clamped(named.port))
        for name, named in ports
    ]
    text = [_attribute(key, value) for key, value in meta]
    return _encoder.encode((protocol.lower().encode(), labels, numbers, text))


def _label(tag: str) -> bytes | None:
    """The tag as a label in lower case, when it is one."""
    label = tag.encode("utf-8", "replace").lower()
    return label if 0 < len(label) <= LABEL_BYTES_MAX and b"." not in label else None


def _attribute(key: str, value: str) -> bytes:
    """`key=value` with the key's own "=" and "`" quoted (RFC 1464 section 2)."""
    quoted = key.replace("`", "``").replace("=", "`=")
    return f"{quoted}={value}".encode("utf-8", "replace")


def _clamped(number: int) -> int:
    return min(max(number, 0), _SHORT_MAX)
