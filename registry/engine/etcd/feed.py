"""One watch on all that makes the board's revision grow, whatever happens to its connection.

What comes goes into the history, which serves all watchers of this node. After a break it goes on
at the revision after the last it has seen; when etcd has compacted that away, and something of
the board with it, the history starts anew and its watchers are told to load again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from ..history import History
from ..seam import ABSENT, NO_PAIR, Change, Compacted, EngineError
from .callboard_etcd_pb2 import KeyValue, RangeRequest, WatchRequest, WatchResponse
from .connection import Connection, Endpoint
from .layout import LAST_EXPIRED, Layout
from .methods import RANGE, WATCH
from .rpc import RpcError, Stream

RECONNECT_S: Final = 0.1
"""Between two attempts: short against an election, long against the cost of an attempt."""
CANCELLED_S: Final = 1.0
"""After etcd itself has ended the watch: somebody has to grant something."""

_log: Final = logging.getLogger("callboard.etcd")


class Position(NamedTuple):
    """How far a majority was at one moment: etcd itself, and the board in it."""

    store: int
    board: int


async def read_position(connection: Connection, layout: Layout) -> Position:
    """A linearizable read. Raises `EngineError`."""
    request = RangeRequest(key=layout.last, keys_only=True)
    answer = await connection.call_any(RANGE, request)
    connection.told_term(answer.header.raft_term)
    store = answer.header.revision
    if layout.exclusive:
        return Position(store, store)
    return Position(store, answer.kvs[0].mod_revision if answer.kvs else ABSENT)


class Feed:
    """`seen` is the revision of the board up to which `history` holds everything."""

    def __init__(
        self,
        connection: Connection,
        layout: Layout,
        start: Position,
        on_keeper: Callable[[bytes | None, int], None],
        on_follow: Callable[[], None],
    ) -> None:
        """`on_keeper` is told the election key's value, or None, and its revision."""
        self._connection = connection
        self._layout = layout
        self._on_keeper = on_keeper
        self._on_follow = on_follow
        self._stream: Stream | None = None
        self._follow_from = start.store + 1
        self.delivered = start.store
        """The latest revision of etcd that the watch has brought."""
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._expired_at = ABSENT
        self.history = History(start.board)
        self.seen = start.board
        connection.on_move.append(self.follow_anew)

    def reflected(self, position: Position) -> None:
        """Nothing up to `position` is missing: after a break there is no need to ask for it."""
        if position.board <= self.seen:
            self._follow_from = max(self._follow_from, position.store + 1)

    async def reach(self, revision: int) -> None:
        """Wait until `seen` is not below `revision`."""
        if self.seen < revision:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((revision, waiter))
            await waiter

    def created_at(self, revision: int) -> dict[bytes, int]:
        """What was put at `revision`, by key, and since when it has been there."""
        try:
            changes = self.history.after(revision - 1)
        except Compacted:
            return {}
        return {one.key: one.create_revision for one in changes if one.revision == revision}

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            endpoint = self._connection.endpoint
            try:
                await self._follow(endpoint)
            except EngineError as error:
                _log.debug("the watch cannot go on: %s", error)
            except RpcError as error:
                _log.debug("the watch at %s broke off: %s", endpoint.url, error.details)
                self._connection.move_on(endpoint)
            await asyncio.sleep(RECONNECT_S)

    def follow_anew(self) -> None:
        """At the endpoint that is in use now, or because nothing comes."""
        if self._stream is not None:
            self._stream.cancel()

    async def _follow(self, endpoint: Endpoint) -> None:
        request = WatchRequest()
        create = request.create_request
        create.key, create.range_end = self._layout.start, self._layout.end
        create.start_revision = self._follow_from
        ended_by: WatchResponse | None = None

        def take(response: WatchResponse) -> None:
            nonlocal ended_by
            if response.canceled:
                ended_by = response
                stream.cancel()
            else:
                if response.created:
                    self._on_follow()
                self._take(response)

        async with self._connection.stream(endpoint, WATCH, request, take) as stream:
            if endpoint is not self._connection.endpoint:
                return  # calls have moved on while this was connecting
            self._stream = stream
            try:
                await stream.end
            finally:
                self._stream = None
        if ended_by is not None:
            await self._cancelled(ended_by)

    async def _cancelled(self, response: WatchResponse) -> None:
        if response.compact_revision:
            if self._follow_from <= response.compact_revision:
                await self._start_again()
            return  # or a read has shown meanwhile that nothing was missed
        _log.warning("etcd ended the watch: %s", response.cancel_reason or "no reason given")
        await asyncio.sleep(CANCELLED_S)
        await self._connection.renew_token()

    def _take(self, response: WatchResponse) -> None:
        changes: list[Change] = []
        append = changes.append
        pairs, cut = self._layout.pairs, len(self._layout.pairs)
        seen = self.delivered
        for event in response.events:
            kv = event.kv
            revision = kv.mod_revision
            if revision <= seen:
                continue  # a member may repeat itself after a reconnect
            self.delivered = revision
            key = kv.key
            if not key.startswith(pairs):
                self._take_other(key, kv, gone=event.type != 0)
            elif event.type == 0:
                append(Change(key[cut:], kv.value, revision, kv.create_revision))
            else:
                append(Change(key[cut:], None, revision, ABSENT, revision == self._expired_at))
        self._follow_from = max(self._follow_from, self.delivered + 1)
        told = changes[-1].revision if changes else seen
        if self._layout.exclusive and self.delivered > told:
            append(Change(NO_PAIR, None, self.delivered, ABSENT))
        if changes:
            self.history.append(changes)
            self.seen = max(self.seen, self.history.revision)
        self._wake()

    def _take_other(self, key: bytes, kv: KeyValue, *, gone: bool) -> None:
        if key == self._layout.last:
            # It is the first operation of its transaction, and comes first.
            self.seen = kv.mod_revision
            if kv.value == LAST_EXPIRED:
                self._expired_at = kv.mod_revision
        elif key == self._layout.keeper:
            self._on_keeper(None if gone else kv.value, kv.mod_revision)

    async def _start_again(self) -> None:
        """What comes next has been compacted away: was there anything of the board in it?"""
        position = await read_position(self._connection, self._layout)
        if position.board > self.seen:
            _log.warning("etcd has compacted changes that this node has not seen")
            self.history.restart(position.board)
            self.seen = position.board
        self.delivered = position.store
        self._follow_from = position.store + 1
        self._wake()

    def _wake(self) -> None:
        if not self._waiters:
            return
        waiting, self._waiters = self._waiters, []
        for entry in waiting:
            revision, waiter = entry
            if revision > self.seen:
                self._waiters.append(entry)
            elif not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """After `run` has been cancelled. Watchers come to their end; nobody waits any more."""
        self.history.close()
        for _, waiter in self._waiters:
            waiter.cancel()
        self._waiters.clear()
