"""What the calls answer: frozen values, as the server sent them.

Fields that a newer server adds are ignored, those that an older one leaves out have defaults.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, overload

import msgspec

from ..addresses import Address

HANDED_OUT = frozenset({"passing", "warning"})
"""The statuses that get traffic."""


class Port(msgspec.Struct, frozen=True):
    """A named port."""

    port: int
    protocol: str = "tcp"


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One registered instance. `ttl` and `expires_in` are in seconds; None never expires."""

    service: str
    id: str
    namespace: str = "default"
    address: str = ""
    port: int | None = None
    ports: dict[str, Port] = {}
    protocol: str = "tcp"
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = {}
    node: str = ""
    priority: int = 1
    weight: int = 1
    ttl: float = 0
    status: str = "passing"
    output: str = ""
    expires_in: float | None = None
    create_index: int = 0
    modify_index: int = 0

    @property
    def endpoint(self) -> str:
        """`HOST:PORT`, or the bare address of an instance without a port."""
        return self.address if self.port is None else str(Address(self.address, self.port))


class Instances(Sequence[Instance]):
    """The instances of a service; `age_s` is how old the list is, 0 for a server's answer."""

    __slots__ = ("_items", "age_s", "at_index")

    def __init__(self, items: Sequence[Instance], at_index: int, age_s: float = 0.0) -> None:
        self._items = tuple(items)
        self.at_index = at_index
        self.age_s = age_s

    @overload
    def __getitem__(self, position: int) -> Instance: ...
    @overload
    def __getitem__(self, position: slice) -> tuple[Instance, ...]: ...
    def __getitem__(self, position: int | slice) -> Instance | tuple[Instance, ...]:
        return self._items[position]

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Instances({list(self._items)!r}, at_index={self.at_index}, age_s={self.age_s:.1f})"


class ServiceSummary(msgspec.Struct, frozen=True):
    """What `services()` says of each service."""

    instances: int
    passing: int
    tags: tuple[str, ...] = ()


class KvPair(msgspec.Struct, frozen=True):
    """A stored value; `index` is what a compare-and-set compares."""

    key: str
    value: bytes
    flags: int
    create_index: int
    index: int


class Renewal(msgspec.Struct, frozen=True):
    """The answer to a heartbeat, in seconds."""

    ttl: float
    expires_in: float | None = None


class Member(msgspec.Struct, frozen=True):
    """One node of the cluster."""

    name: str
    address: str = ""
    leader: bool = False
    healthy: bool = True


class Transfer(msgspec.Struct, frozen=True):
    """Who keeps the leases and who leads after a hand-over."""

    keeper: str
    leader: str


class Status(msgspec.Struct, frozen=True):
    """What a node says of itself. `uptime` is in seconds."""

    node: str
    engine: str = ""
    keeper: str = ""
    leader: str = ""
    index: int = 0
    staleness_ms: float = 0
    members: int | list[Member] = 0
    services: int = 0
    instances: int = 0
    version: str = ""
    uptime: float = 0


class SnapshotEvent(msgspec.Struct, frozen=True):
    """Everything as it is at `index`; what was known before is void.

    `resync` says that events may have been missed since the last one.
    """

    index: int
    instances: tuple[Instance, ...]
    resync: bool = False
    kind: Literal["snapshot"] = "snapshot"


class PutEvent(msgspec.Struct, frozen=True):
    """An instance was registered, replaced, or changed its status."""

    index: int
    instance: Instance
    kind: Literal["put"] = "put"


class DeleteEvent(msgspec.Struct, frozen=True):
    """`instance` is gone, and was this before; `reason` is `deregistered` or `expired`."""

    index: int
    instance: Instance
    reason: str
    kind: Literal["delete"] = "delete"


Event = SnapshotEvent | PutEvent | DeleteEvent
