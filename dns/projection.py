"""From a registered instance to the record that the DNS workers keep of it."""

import socket
from typing import Final

import msgspec

from ..registry.instance import HANDED_OUT, Instance
from .names import service_key
from .record import FIXED, HOST, IPV4, IPV6, NO_ADDRESS, WITHHELD
from .wire import LABEL_BYTES_MAX, labels_of, name_bytes

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
    fixed = FIXED.pack(
        kind,
        _clamped(instance.priority),
        _clamped(instance.weight * weight_scale),
        _clamped(instance.port or 0),
    )
    return id_prefix(instance.id) + fixed + address + _pack_extras(instance)


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


def _pack_extras(instance: Instance) -> bytes:
    if not (
        instance.meta
        or instance.tags
        or instance.ports
        or instance.protocol.lower() != _DEFAULT_PROTOCOL
    ):
        return b""
    tags = [label for tag in instance.tags if (label := _label(tag))]
    ports = [
        (name.lower().encode(), named.protocol.lower().encode(), _clamped(named.port))
        for name, named in instance.ports.items()
    ]
    text = [_attribute(key, value) for key, value in instance.meta.items()]
    return _encoder.encode((instance.protocol.lower().encode(), tags, ports, text))


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
