"""What the registry is asked and what it answers, as values."""

from typing import NamedTuple

import msgspec

from .errors import RegistryError
from .instance import Instance, Status
from .names import InstanceName


class Listed(msgspec.Struct, frozen=True, gc=False):
    """An instance as it is on the board now. `expires_in_s` is None when it never expires."""

    instance: Instance
    create_index: int
    modify_index: int
    expires_in_s: float | None


class ServiceSummary(NamedTuple):
    name: str
    instances: int
    passing: int
    tags: list[str]


class KvPair(NamedTuple):
    key: str
    value: bytes
    flags: int
    create_index: int
    modify_index: int


class Registered(msgspec.Struct, frozen=True, gc=False):
    listed: Listed
    created: bool


class Renewal(NamedTuple):
    ttl_s: float
    expires_in_s: float | None


class Register(msgspec.Struct, frozen=True, gc=False):
    instance: Instance


class Deregister(NamedTuple):
    name: InstanceName


class Heartbeat(NamedTuple):
    name: InstanceName
    status: Status | None = None
    output: str | None = None

    @property
    def is_bare(self) -> bool:
        """Whether it renews and nothing else."""
        return self.status is None and self.output is None


BatchOperation = Register | Deregister | Heartbeat
BatchResult = Registered | bool | Renewal | RegistryError | None
"""Register -> Registered; Deregister -> bool; Heartbeat -> Renewal, or None when unknown.
An error refuses its own operation and leaves the others standing."""


class ServicesTopic(NamedTuple):
    """What a blocking read or a watch asked about: all services of a namespace (None: of all)."""

    namespace: str | None


class ServiceTopic(NamedTuple):
    namespace: str
    service: str


class KvTopic(NamedTuple):
    """One key, or with `recurse` everything that starts with it."""

    key: str
    recurse: bool


BoardTopic = ServicesTopic | ServiceTopic
Topic = BoardTopic | KvTopic


class Event(msgspec.Struct, frozen=True, gc=False):
    """One change to one instance. `listed` is None when it is gone; `last` is what it was."""

    index: int
    name: InstanceName
    listed: Listed | None
    last: Listed | None
    expired: bool
