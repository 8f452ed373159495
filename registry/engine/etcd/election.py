"""The election of the lease keeper: a leased key, created by whoever comes first.

Who holds it renews its lease; when that has not succeeded for as long as the lease lives, it
counts as lost, even if this process was stopped meanwhile and nobody could tell it. Whether it
really is lost is compared inside each transaction that carries the guard.
"""

import asyncio
import logging
import time
from typing import Final

import msgpack

from ..seam import EngineError, Guard, Keeper, OutcomeUnknown
from .callboard_etcd_pb2 import (
    Compare,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseRevokeRequest,
    RangeRequest,
    TxnRequest,
)
from .connection import Connection
from .errors import NotReached
from .layout import Layout
from .methods import LEASE_GRANT, LEASE_KEEP_ALIVE, LEASE_REVOKE, RANGE, TXN

LEASE_TTL_S: Final = 3
"""A keeper that dies is missed for so long. etcd takes no less than 2 s by default."""
RENEW_S: Final = 0.75
"""Three attempts fit into the life of a lease, with time left for their answers."""
RETRY_S: Final = 0.5
"""After an attempt to win that failed because etcd did."""
LOOK_S: Final = 5.0
"""How often the election is looked at when nothing is heard of it: the watch tells of changes,
this is for what it might have missed while it was broken."""
RESIGNED_S: Final = 2.0
"""Who resigned lets the others go first for so long, or until one of them has won."""

_log: Final = logging.getLogger("callboard.etcd")


class Election:
    """`keeper` is whoever holds the key as far as the watch has told, `guard` our own proof."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection = connection
        self._key = layout.keeper
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._told_at = 0
        self._lease = 0
        self._left = 0
        """A lease that was lost to silence. It may live on with its key for a whole TTL after etcd
        has elected a leader, who grants that anew: nobody could win before."""
        self._own_revision = 0
        """Of the latest election that this node has won: the watch may tell of it late."""
        self._renewing: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._waits_until = 0.0
        self._held_until = 0.0
        """Before this, by the monotonic clock, etcd has not ended our lease."""
        self.guard: Guard | None = None
        self.keeper: Keeper | None = None

    def told(self, value: bytes | None, revision: int) -> None:
        """The watch or a read says that the key has been `value` since `revision`; None: gone."""
        if revision < self._told_at:
            return
        self._told_at = revision
        self.keeper = None if value is None else _read_keeper(value)
        if self.guard is not None and revision > self.guard.revision:
            self._lose("its key is gone" if value is None else "another node was elected")
        if value is not None and revision > self._own_revision:
            self._waits_until = 0.0
        self._change()

    def look_soon(self) -> None:
        """The watch may have missed something: read the key."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="etcd-look")

    async def campaign(self, name: str, address: str) -> Guard:
        """Wait until this node is the keeper. A guard it has already is given up first."""
        if self.guard is not None:
            await self._give_up("it campaigns anew")
        value: bytes = msgpack.packb((name, address))
        while True:
            await self._turn()
            try:
                guard = await self._create(value)
            except EngineError as error:
                _log.debug("the election cannot be held: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            if guard is not None:
                return guard

    async def hold(self, guard: Guard) -> None:
        """Return when `guard` is lost, or was resigned."""
        while guard == self.guard:
            await self._changed.wait()

    def holds(self) -> bool:
        """Whether nobody else can have won by now. Not by the loop's clock: in the turn in which
        this process is woken from a stop, that still tells the time before it."""
        return self.guard is not None and time.monotonic() < self._held_until

    async def resign(self) -> None:
        """Let another win; this node waits until one has, or for `RESIGNED_S`."""
        if self.guard is not None:
            self._waits_until = self._loop.time() + RESIGNED_S
            await self._give_up("it resigned")

    async def close(self) -> None:
        """Give the key back, and leave nothing running."""
        if self.guard is not None:
            await self._give_up("this node stops")
        for task in (self._renewing, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._renewing = self._looking = None

    async def _turn(self) -> None:
        """Until nobody is known to hold the key."""
        while True:
            if self._left and await self._revoke(self._left):
                self._left = 0
            pause_s = self._waits_until - self._loop.time()
            if self.keeper is None and pause_s <= 0:
                return
            if self.keeper is not None:
                pause_s = RETRY_S if self._left else LOOK_S
            changed = self._changed
            try:
                async with asyncio.timeout(pause_s):
                    await changed.wait()
            except TimeoutError:
                await self._look()

    async def _look(self) -> None:
        try:
            answer = await self._connection.call_any(RANGE, RangeRequest(key=self._key))
        except EngineError as error:
            _log.debug("the election cannot be read: %s", error)
            return
        if answer.kvs:
            self.told(answer.kvs[0].value, answer.kvs[0].mod_revision)
        else:
            self.told(None, answer.header.revision)

    async def _create(self, value: bytes) -> Guard | None:
        """Create the key if it is absent; None when somebody was quicker."""
        asked_at = time.monotonic()
        grant = LeaseGrantRequest(TTL=LEASE_TTL_S)
        lease: int = (await self._connection.call(LEASE_GRANT, grant)).ID
        request = TxnRequest()
        request.compare.add(target=Compare.CREATE, key=self._key, create_revision=0)
        put = request.success.add().request_put
        put.key, put.value, put.lease = self._key, value, lease
        request.failure.add().request_range.key = self._key
        try:
            answer = await self._connection.call(TXN, request)
        except BaseException:
            # Perhaps it was created all the same: nobody would renew it.
            await asyncio.shield(self._revoke(lease))
            raise
        if not answer.succeeded:
            await self._revoke(lease)
            [other] = answer.responses[0].response_range.kvs
            self.told(other.value, other.mod_revision)
            return None
        guard = Guard(self._key, answer.header.revision)
        self.guard, self._lease, self._own_revision = guard, lease, guard.revision
        self._held_until = asked_at + LEASE_TTL_S
        self.told(value, guard.revision)
        self._renewing = asyncio.create_task(self._renew(guard, asked_at), name="etcd-lease")
        return guard

    async def _renew(self, guard: Guard, renewed_at: float) -> None:
        asked_at = renewed_at
        while self.guard == guard:
            left_s = renewed_at + LEASE_TTL_S - time.monotonic()
            if left_s <= 0:
                self._left = self._lease
                self._waits_until = (
                    self._loop.time() + RESIGNED_S
                )  # we are the ones who were cut off
                self._lose("its lease was not renewed in time")
                return
            pause_s = max(0.0, asked_at + RENEW_S - time.monotonic())
            await asyncio.sleep(min(pause_s, left_s))
            asked_at = time.monotonic()
            if asked_at >= renewed_at + LEASE_TTL_S:
                continue
            ttl_s = await self._keep_alive(self._lease)
            if ttl_s == 0:
                self._lose("its lease has run out")
            elif ttl_s is not None:
                renewed_at = asked_at
                self._held_until = asked_at + LEASE_TTL_S

    async def _keep_alive(self, lease: int) -> int | None:
        """The TTL of the lease, 0 when it is gone, None when nobody could be asked.

        A call for each renewal: it goes to whichever endpoint is in use.
        """
        endpoint = self._connection.endpoint
        request = LeaseKeepAliveRequest(ID=lease)
        try:
            answer = await self._connection.call_at(endpoint, LEASE_KEEP_ALIVE, request, RENEW_S)
        except EngineError as error:
            _log.debug("the keeper's lease could not be renewed at %s: %r", endpoint.url, error)
            self._connection.move_on(endpoint)
            return None
        ttl_s: int = answer.TTL
        return ttl_s

    async def _give_up(self, why: str) -> None:
        lease = self._lease
        self._lose(why)
        await self._revoke(lease)

    async def _revoke(self, lease: int) -> bool:
        """Ends the lease, and with it the key; whether it has ended. Otherwise it runs out by
        itself."""
        try:
            answer = await self._connection.call(LEASE_REVOKE, LeaseRevokeRequest(ID=lease))
        except EngineError as error:
            _log.debug("the keeper's lease could not be given back: %s", error)
            return not isinstance(error, NotReached | OutcomeUnknown)
        if self.keeper is not None and self._told_at == self._own_revision:
            self.told(None, answer.header.revision)
        return True

    def _lose(self, why: str) -> None:
        _log.info("this node does not keep the leases any more: %s", why)
        self.guard, self._lease = None, 0
        if self._renewing is not None and self._renewing is not asyncio.current_task():
            self._renewing.cancel()
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _read_keeper(value: bytes) -> Keeper:
    try:
        name, address = msgpack.unpackb(value)
        return Keeper(str(name), str(address))
    except (ValueError, TypeError, msgpack.UnpackException):
        return Keeper("unknown", "")
