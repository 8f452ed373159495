"""The registry as the API and the DNS feed see it: names and leases over an engine of pairs.

INTERFACE UNDER CONSTRUCTION: signatures are final, bodies follow.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import NamedTuple

from .engine.seam import Engine, EngineStatus, Member
from .instance import Instance, Status
from .names import InstanceName


class Listed(NamedTuple):
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


class Registered(NamedTuple):
    listed: Listed
    created: bool


class Renewal(NamedTuple):
    ttl_s: float
    expires_in_s: float | None


class Register(NamedTuple):
    instance: Instance


class Deregister(NamedTuple):
    name: InstanceName


class Heartbeat(NamedTuple):
    name: InstanceName
    status: Status | None = None
    output: str | None = None


BatchOperation = Register | Deregister | Heartbeat
BatchResult = Registered | bool | Renewal | None
"""Register -> Registered; Deregister -> bool; Heartbeat -> Renewal, or None when unknown."""


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


Topic = ServicesTopic | ServiceTopic | KvTopic


class Event(NamedTuple):
    """One change to one instance. `listed` is None when it is gone; `last` is what it was."""

    index: int
    name: InstanceName
    listed: Listed | None
    last: Listed | None
    expired: bool


class Lagged(Exception):
    """The reader was too slow, or asked for changes no longer kept: take a snapshot again."""


class Subscription:
    """A bounded queue of the events of one topic; use as a context manager, or `close` it."""

    async def next(self) -> list[Event]:
        """The events since the last call, in order; waits for one. Raises `Lagged`."""
        raise NotImplementedError

    def close(self) -> None: ...


class Registry:
    """Create, `await start()`, use from one event loop, `await close()`."""

    def __init__(
        self,
        engine: Engine,
        *,
        node: str,
        default_ttl_s: float = 30.0,
        clock: Callable[[], float] = ...,  # time.monotonic
    ) -> None: ...

    async def start(self) -> None:
        """Load, start leases and the applying of changes. Raises `CannotStart`."""

    async def close(self) -> None: ...

    # The board
    @property
    def index(self) -> int: ...
    @property
    def node(self) -> str: ...
    @property
    def default_ttl_s(self) -> float: ...
    @property
    def service_count(self) -> int: ...
    @property
    def instance_count(self) -> int: ...
    def staleness_ms(self) -> float: ...
    def engine_status(self) -> EngineStatus: ...
    async def members(self) -> list[Member]: ...
    @property
    def keeper(self) -> str:
        """The node that keeps the leases."""

    async def confirm(self) -> None:
        """Return when this node shows everything committed before the call (strong reads)."""

    # Instances. Writes raise `Unavailable`, `InvalidInput`, `TooLarge`.
    async def register(self, instance: Instance) -> Registered:
        """Names in `instance` may be in any case; the board keeps the first spelling."""

    async def deregister(self, name: InstanceName) -> bool: ...
    async def heartbeat(self, beat: Heartbeat) -> Renewal | None:
        """Renew; writes only when the status or the output changes. None: not registered."""

    def renew(self, names: Sequence[InstanceName]) -> list[int]:
        """Renew many at once, writing nothing; the positions of those that are unknown."""

    async def batch(self, operations: Sequence[BatchOperation]) -> list[BatchResult]: ...

    def services(self, namespace: str) -> Iterator[ServiceSummary]:
        """Safe to go on with after other tasks ran: each service is as of its own moment."""

    def instances(self, namespace: str, service: str) -> list[Listed]: ...
    def instance(self, name: InstanceName) -> Listed | None: ...

    # KV, in Consul's terms: `cas` 0 means "only when absent".
    def kv_get(self, key: str) -> KvPair | None: ...
    def kv_list(self, prefix: str) -> list[KvPair]: ...
    def kv_keys(self, prefix: str) -> list[str]: ...
    async def kv_put(
        self,
        key: str,
        value: bytes,
        *,
        flags: int = 0,
        cas: int | None = None,
        ttl_s: float | None = None,
    ) -> bool: ...
    async def kv_delete(self, key: str, *, cas: int | None = None) -> bool: ...
    async def kv_delete_prefix(self, prefix: str) -> int: ...

    # Changes
    def modify_index(self, topic: Topic) -> int:
        """The index of the last change to what `topic` names, as far as is remembered."""

    async def wait_past(self, topic: Topic, index: int, timeout_s: float) -> bool:
        """Wait until `topic` has changed past `index`; False when the time is over."""

    def subscribe(
        self, topic: ServicesTopic | ServiceTopic, since: int | None = None
    ) -> Subscription:
        """Events from now on, or after `since`. Raises `Lagged` when `since` is too old."""

    def listing(self, topic: ServicesTopic | ServiceTopic) -> Iterator[list[Listed]]:
        """Everything `topic` names, a service (or a page of one) at a time.

        Subscribe first: what changes while the listing is read then comes as events too.
        """

    # Snapshots
    async def save(self, path: str) -> int:
        """Write a consistent copy of everything to a new file; the index it holds."""

    async def restore(self, path: str) -> int:
        """Make the board what the file holds, in one commit. Raises `InvalidInput`."""
