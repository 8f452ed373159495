"""The registry as the API and the DNS feed see it: names and leases over an engine of pairs.

One task applies the engine's changes, in order, to the board: a node's own writes take the
same way as everybody else's. A write is answered when this node shows it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from .board import Board
from .engine.seam import (
    ABSENT,
    CannotStart,
    Change,
    Compacted,
    Delete,
    Done,
    Engine,
    EngineError,
    EngineStatus,
    Put,
)
from .errors import TooLarge, Unavailable
from .expiry import Expiry
from .instance import TTL_NEVER, DamagedValue, Instance
from .keeping import Keeping
from .kv import VALUE_BYTES_MAX, StoredKv, encode_kv
from .mass_expiry import MassExpiry
from .membership import Membership
from .names import InstanceName, instance_key, kv_key
from .reloading import lost_changes
from .renewals import Renewals
from .restoring import restore_operations
from .showing import Showing
from .views import (
    BatchOperation,
    BatchResult,
    BoardTopic,
    Deregister,
    Heartbeat,
    KvPair,
    Listed,
    Register,
    Registered,
    Renewal,
    ServiceSummary,
    Topic,
)
from .watches import Subscription
from .writes import Writes

CATCH_UP_S_MAX: Final = 1.0
"""How long a read waits for what its client has seen at another node, milliseconds before."""

_log: Final = logging.getLogger("callboard.registry")


class Registry:
    """Create, `await start()`, use from one event loop, `await close()`.

    Writes raise `Unavailable`, and `TooLarge` for what is over its limit.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        node: str,
        default_ttl_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        mass_expiry: MassExpiry | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_failure` is called when `failed` becomes true: end the process then. Without
        `mass_expiry` whatever has run out goes, however much it is."""
        self.node = node
        self.default_ttl_s = default_ttl_s
        self._engine = engine
        self._clock = clock
        self._on_failure = on_failure
        self._board = Board(engine.holds)
        mass = mass_expiry or MassExpiry(share=0)
        self._expiry = Expiry(engine, self._board, clock, mass)
        self._keeping = Keeping(engine, node, self._board, self._expiry)
        self._showing = Showing()
        self.renewals = Renewals(engine, node, self._board, self._showing, clock)
        self._writes = Writes(engine, self._board, self._showing, self.renewals, clock)
        self.membership = Membership(engine, node)
        self._keeping_task: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.failed = False
        """A defect has stopped changes or leases: a board that stands still must not be shown
        as one that lives."""

    async def start(self) -> None:
        """Load, then apply changes and keep leases. Raises `CannotStart`."""
        revision, pages = await self._engine.load()
        async for page in pages:
            try:
                self._board.load(page, self._clock())
            except DamagedValue as error:
                raise CannotStart(
                    f"{error}; a newer callboard may have written it: start that, or restore a"
                    " snapshot into an empty data directory"
                ) from error
        self._board.loaded(revision)
        self._showing.reached(revision)
        keeping = self._keeping.run(self.renewals.address)
        self._keeping_task = asyncio.create_task(keeping, name="registry-leases")
        applying = asyncio.create_task(self._apply_changes(), name="registry-apply")
        self._tasks = [applying, self._keeping_task]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def drain(self) -> None:
        """Refuse writes from now on, let blocking reads answer, and keep no leases: a node that
        has handed them over must not come forward again."""
        self._writes.closing = True
        self._board.watches.close()
        if self._keeping_task is not None:
            self._keeping_task.cancel()

    async def close(self) -> None:
        """Stop; the engine is its owner's to close."""
        self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.renewals.close()

    @property
    def index(self) -> int:
        """The engine's revision that this node shows."""
        return self._board.index

    @property
    def keeper(self) -> str:
        """The node that keeps the leases, "" between two of them."""
        keeper = self._engine.keeper()
        return "" if keeper is None else keeper.name

    @property
    def keeps_leases(self) -> bool:
        """Whether that is this node."""
        return self._board.keeps_leases

    @property
    def service_count(self) -> int:
        return self._board.catalog.service_count

    @property
    def instance_count(self) -> int:
        return self._board.catalog.instance_count

    @property
    def lease_count(self) -> int:
        return len(self._board.leases)

    @property
    def kv_count(self) -> int:
        return len(self._board.kv)

    @property
    def expired_total(self) -> int:
        """How many leases this node has found run out and taken off."""
        return self._expiry.expired_total

    @property
    def held_back(self) -> int:
        """Silent leases that the mass-expiry guard holds back right now."""
        return self._expiry.held_back

    @property
    def held_back_total(self) -> int:
        return self._expiry.held_back_total

    def staleness_ms(self) -> float:
        return self._engine.staleness_ms()

    def engine_status(self) -> EngineStatus:
        return self._engine.status()

    async def confirm(self) -> None:
        """Return when this node shows everything committed before the call (strong reads).

        Raises `Unavailable`, within seconds.
        """
        await self._writes.confirm()

    async def catch_up(self, index: int) -> None:
        """Wait a moment for `index`, if it can be that of another node of the same cluster."""
        if index > self.index and self._engine.identity():
            await self._writes.shown(index, CATCH_UP_S_MAX)

    async def register(self, instance: Instance) -> Registered:
        """Put on the board or replace. Names may be in any case; the first spelling stays."""
        result = await self._writes.one(Register(instance))
        assert isinstance(result, Registered)
        return result

    async def deregister(self, name: InstanceName) -> bool:
        """Take off the board; False when it was not there."""
        return await self._writes.one(Deregister(name)) is True

    async def heartbeat(self, beat: Heartbeat) -> Renewal | None:
        """Renew; writes only when the status or the output changes. None: not registered."""
        result = await self._writes.one(beat)
        assert result is None or isinstance(result, Renewal)
        return result

    def renew(self, names: Sequence[InstanceName]) -> list[int]:
        """Renew many at the keeper, writing nothing; the positions of those that are unknown."""
        now_s = self._clock()
        renew = self._board.renew
        return [position for position, name in enumerate(names) if renew(name, now_s) is None]

    async def renew_many(self, names: Sequence[InstanceName]) -> list[int]:
        """The same at any node: the keeper is told, and answers."""
        if self._board.keeps_leases:
            return self.renew(names)
        return await self.renewals.pass_on([instance_key(name) for name in names])

    async def batch(self, operations: Sequence[BatchOperation]) -> list[BatchResult]:
        """Do many in one commit; one result each, in order."""
        return await self._writes.batch(operations)

    def services(self, namespace: str) -> Iterator[ServiceSummary]:
        """Safe to go on with after other tasks ran: each service is as of its own moment."""
        return self._board.catalog.summaries(namespace.lower())

    def instances(self, namespace: str, service: str) -> list[Listed]:
        found = self._board.catalog.service(namespace.lower(), service.lower())
        if found is None:
            return []
        now_s = self._clock()
        return [
            self._board.listed(InstanceName(namespace.lower(), service.lower(), key), entry, now_s)
            for key, entry in found.entries.items()
        ]

    def instance(self, name: InstanceName) -> Listed | None:
        name = _folded(name)
        entry = self._board.catalog.get(name)
        return None if entry is None else self._board.listed(name, entry, self._clock())

    def listing(self, topic: BoardTopic) -> Iterator[list[Listed]]:
        """Everything `topic` names, in pages.

        Subscribe first: what changes while the listing is read then comes as events too.
        """
        for page in self._board.catalog.pages(topic):
            now_s = self._clock()
            yield [self._board.listed(name, entry, now_s) for name, entry in page]

    def kv_get(self, key: str) -> KvPair | None:
        return self._board.kv.get(key)

    def kv_list(self, prefix: str) -> list[KvPair]:
        return self._board.kv.pairs(prefix)

    def kv_keys(self, prefix: str) -> list[str]:
        return list(self._board.kv.keys(prefix))

    async def kv_put(
        self,
        key: str,
        value: bytes,
        *,
        flags: int = 0,
        cas: int | None = None,
        ttl_s: float | None = None,
    ) -> bool:
        """Store; with `cas` only when the modify index is that (0: only when absent)."""
        if len(value) > VALUE_BYTES_MAX:
            raise TooLarge(
                "value", f"the value has {len(value)} bytes, {VALUE_BYTES_MAX} are allowed"
            )
        stored = StoredKv(flags, TTL_NEVER if ttl_s is None else ttl_s, value)
        [result] = await self._writes.commit([Put(kv_key(key), encode_kv(stored), cas)])
        return isinstance(result, Done)

    async def kv_delete(self, key: str, *, cas: int | None = None) -> bool:
        """Delete; True unless `cas` does not hold: deleting what is not there is done."""
        [result] = await self._writes.commit([Delete(kv_key(key), cas)])
        return isinstance(result, Done) or result.revision == ABSENT

    async def kv_delete_prefix(self, prefix: str) -> int:
        """Delete everything that starts with `prefix`; how many there were."""
        if self._engine.identity():
            await self.confirm()  # what another node has stored goes too
        deletes = [Delete(kv_key(key)) for key in self._board.kv.keys(prefix)]
        results = await self._writes.commit(deletes)
        return sum(isinstance(result, Done) for result in results)

    def modify_index(self, topic: Topic) -> int:
        """When what `topic` names last changed; never too low, sometimes too high."""
        return self._board.modify_index(topic)

    async def wait_past(self, topic: Topic, index: int, timeout_s: float) -> bool:
        """Wait until `topic` has changed past `index`; False when the time is over."""
        if self._board.modify_index(topic) > index:
            return True
        return await self._board.watches.wait(topic, timeout_s)

    def subscribe(self, topic: BoardTopic, since: int | None = None) -> Subscription:
        """Events from now on, or after `since`. Raises `Lagged` when `since` is too old."""
        return self._board.watches.subscribe(topic, since)

    async def save(self, path: str) -> int:
        """Write a consistent copy of everything to a new file; the index it holds."""
        try:
            return await self._engine.backup(path)
        except EngineError as error:
            raise Unavailable("no_quorum", f"no snapshot could be taken: {error}") from error

    async def restore(self, path: str) -> int:
        """Make the board what the file holds, in one commit. Raises `InvalidInput`.

        Indices go on growing, and every lease starts anew.
        """
        operations = await restore_operations(path, self._board)
        await self._writes.commit(operations)
        return self.index

    async def _apply_changes(self) -> None:
        try:
            while True:
                try:
                    async for changes in self._engine.watch(self._board.index):
                        self._show(changes)
                    return
                except Compacted:
                    _log.warning("changes were lost from the engine's history: loading again")
                    await self._load_again()
        finally:
            self._writes.closing = True
            self._showing.stop()

    def _show(self, changes: Sequence[Change]) -> None:
        self._board.apply(changes, self._clock())
        self._showing.reached(self._board.index)

    async def _load_again(self) -> None:
        """Show what the engine holds now as changes: no gap, no repeat, no empty moment."""
        revision, changes = await lost_changes(self._engine, self._board)
        self._show(changes)
        self._board.index = revision
        self._showing.reached(revision)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("%s failed", task.get_name(), exc_info=error)
            self.failed = True
            self._on_failure()


def _folded(name: InstanceName) -> InstanceName:
    return InstanceName(name.namespace.lower(), name.service.lower(), name.id.lower())
