"""The narrow seam between the registry and whoever stores and replicates its pairs.

An engine keeps ordered key-value pairs and numbers every change. What it promises:

1. *Durable*: a result of `commit` means that the change survives kill -9 and a power cut.
2. *Ordered*: revisions only grow. Changes reach every watcher in that order, whole and once.
   Changes may share a revision when they were committed together; a batch never splits those.
3. *Conditional*: `expect` is compared in the same transaction that writes.
4. *Honest*: a commit that fails with `Refused` changed nothing; one that fails with
   `OutcomeUnknown` may or may not be there after a restart.
5. *Stopped is stopped*: after a failed fsync nothing is ever written again by this process.

The registry builds everything else (names, leases, watches) on these five.

What is made for every write is a struct without garbage collection: it is made in a quarter of
the time of a NamedTuple, and holds nothing that could hold it.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

ABSENT = 0
"""The `expect` and the revision of a key that does not exist."""
NO_PAIR = b""
"""The key of a change that is none: the revision has grown, and nothing else. All nodes come to
it, those that watch as well as those that load the board afterwards."""

NOT_SHOWN = "the write was accepted, but this node does not show it: read it back"
"""What `OutcomeUnknown` says of a write that is certainly done."""


class Put(msgspec.Struct, frozen=True, gc=False):
    """Store `value`, if the modify revision of `key` is `expect` (None: whatever it is)."""

    key: bytes
    value: bytes
    expect: int | None = None


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Remove `key`, under the same condition. Removing an absent key is a `Conflict(ABSENT)`."""

    key: bytes
    expect: int | None = None
    expired: bool = False
    """Why: watchers on every node are told whether a lease ran out or somebody asked."""


Operation = Put | Delete


class Done(msgspec.Struct, frozen=True, gc=False):
    """The operation took effect at `revision`; new keys have `create_revision == revision`."""

    revision: int
    create_revision: int


class Conflict(msgspec.Struct, frozen=True, gc=False):
    """The condition did not hold: the key is at `revision` (`ABSENT` when it is not there)."""

    revision: int


Result = Done | Conflict


class Pair(NamedTuple):
    """A stored pair as `load` yields it."""

    key: bytes
    value: bytes
    create_revision: int
    modify_revision: int


class Change(msgspec.Struct, frozen=True, gc=False):
    """One change in the order of revisions; `value` None says that the key is gone, or `NO_PAIR`.

    Then `create_revision` is that of the pair which went, or `ABSENT` where nobody tells: etcd
    would have to look the pair up again for every watcher.
    """

    key: bytes
    value: bytes | None
    revision: int
    create_revision: int
    expired: bool = False


class Guard(NamedTuple):
    """Proof of having won an election; a commit that carries a lost one is `Superseded`."""

    key: bytes
    revision: int


class Keeper(NamedTuple):
    """The node that keeps the leases, and where other nodes' renewals reach it ("" for nowhere)."""

    name: str
    address: str


class Member(NamedTuple):
    """One node of the engine's cluster; `address` is where its peers reach it, "" for none."""

    name: str
    address: str
    leader: bool
    healthy: bool


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What `GET /v1/status` says of the engine."""

    kind: str
    leader: str
    revision: int
    staleness_ms: float
    """How long ago the engine was last heard from: 0 when it lives in this process."""
    writable: bool
    reason: str
    """Why it is not writable, for people; "" when it is."""


class EngineError(Exception):
    """The root of what an engine raises."""


class Refused(EngineError):
    """Nothing was written: no space, a read-only disk, an engine that has stopped."""


class OutcomeUnknown(EngineError):
    """The commit was under way when the engine failed: it may or may not have happened."""


class Superseded(EngineError):
    """The guard no longer holds: another node has been elected. Nothing was written."""


class StandsAlone(EngineError):
    """There is no cluster: no member to add, to remove or to hand over to."""


class Compacted(EngineError):
    """The changes asked for are no longer kept: load again."""


class CannotStart(EngineError):
    """The data are in use, damaged, unwritable or of another version; says what to do."""


class Engine(Protocol):
    """What the registry asks of a store. All methods belong to the event loop's thread."""

    def commit(
        self, operations: Sequence[Operation], guard: Guard | None = None
    ) -> Awaitable[list[Result]]:
        """Apply the operations in order in one transaction; one result each.

        Calls take effect in the order in which they are made, whoever awaits them when, and
        cancelling the caller does not take back what it asked for. A `Conflict` leaves the
        other operations of the call standing. Raises `Refused`, `OutcomeUnknown` or
        `Superseded`.
        """
        ...

    async def load(self) -> tuple[int, AsyncIterator[Sequence[Pair]]]:
        """The revision of a consistent copy, and its pairs in pages.

        Raises `CannotStart` or `Refused`; the pages raise them, too, and `Compacted` when the
        engine no longer has what they are of. Then forget the pages that came, and load again.
        """
        ...

    def watch(self, from_revision: int) -> AsyncIterator[Sequence[Change]]:
        """Batches of all changes after `from_revision`, for ever. Raises `Compacted`."""
        ...

    async def confirm(self) -> int:
        """A revision that is no older than this call, agreed by a majority. Raises `Refused`."""
        ...

    async def campaign(self, name: str, address: str = "") -> Guard:
        """Wait until this node, reached at `address` by the others, is the lease keeper."""
        ...

    async def hold(self, guard: Guard) -> None:
        """Return when `guard` holds no longer: it was resigned, or lost to silence."""
        ...

    async def resign(self) -> None:
        """Let another node become the keeper; this one waits a while before it wins again."""
        ...

    def keeper(self) -> Keeper | None:
        """Who keeps the leases, as far as this node has heard; None between two keepers."""
        ...

    async def backup(self, path: str) -> int:
        """Write a consistent copy to a new file at `path`; the revision it holds."""
        ...

    def holds(self) -> bool:
        """Whether no other node can have won the election that this one has won, as of now and
        whatever has been heard: asked before each renewal is acknowledged."""
        ...

    def identity(self) -> str:
        """The same on all nodes of one cluster, and on no other's; "" for a node alone."""
        ...

    async def members(self) -> list[Member]: ...

    async def add_member(self, name: str, address: str) -> None:
        """Let the node `name` join, whose peers reach it at `address`.

        Raises `StandsAlone`, `Refused` (another change is under way, or the name is taken) or
        `OutcomeUnknown`.
        """
        ...

    async def remove_member(self, name: str) -> None:
        """Take a node out for good. Raises as `add_member` does."""
        ...

    async def transfer_leadership(self) -> str:
        """Hand the engine's leadership on, if this node's engine has it.

        The name of the node that leads then. Raises as `add_member` does.
        """
        ...

    def status(self) -> EngineStatus: ...

    def staleness_ms(self) -> float:
        """As in `status`, for every answer of the API: cheap."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then let go of every file, thread and socket."""
        ...
