"""An instance as it is registered, and the bytes that the engine stores for it."""

from enum import StrEnum
from typing import Final

import msgspec

TTL_NEVER: Final = 0
"""A registration with this TTL stays until it is taken off."""


class Status(StrEnum):
    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"
    MAINTENANCE = "maintenance"


HANDED_OUT: Final = (Status.PASSING, Status.WARNING)
"""What DNS and `?passing` show: a warning still serves, the other two must not get traffic.

A tuple: `in` finds its members by identity, where a set calls the enum's hash, in Python."""


class Port(msgspec.Struct, frozen=True, array_like=True):
    port: int
    protocol: str = "tcp"


class Instance(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One registered instance. Field order is the stored format: only ever append.

    `ttl` is in seconds. `port` is None for an instance that listens on nothing.
    """

    service: str
    namespace: str
    id: str
    address: str
    port: int | None = None
    ports: dict[str, Port] = {}
    protocol: str = "tcp"
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = {}
    node: str = ""
    priority: int = 1
    weight: int = 1
    ttl: float = 30.0
    status: Status = Status.PASSING
    output: str = ""


class DamagedValue(Exception):
    """Stored bytes that are no instance: a newer version wrote them, or something harmed them."""


_encoder: Final = msgspec.msgpack.Encoder(order="deterministic")
"""The same registration gives the same bytes, in whatever order a client writes its `meta`."""
_decoder: Final = msgspec.msgpack.Decoder(Instance)


def encode_instance(instance: Instance) -> bytes:
    return _encoder.encode(instance)


def decode_instance(value: bytes) -> Instance:
    """Raises `DamagedValue`."""
    try:
        return _decoder.decode(value)
    except msgspec.DecodeError as error:
        raise DamagedValue(str(error)) from error
