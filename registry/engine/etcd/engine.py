"""The etcd engine: pairs that a majority of machines has on disk."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from ..history import Watch
from ..seam import (
    CannotStart,
    Change,
    EngineError,
    EngineStatus,
    Guard,
    Keeper,
    Member,
    Operation,
    Pair,
    Result,
    Superseded,
)
from .backup import write_backup
from .callboard_etcd_pb2 import StatusRequest
from .cluster import Cluster
from .committer import Committer
from .confirming import Confirmer
from .connection import Connection
from .election import Election
from .errors import TokenRejected, Unwritable
from .feed import Feed, Position, read_position
from .layout import Layout
from .loading import Loader
from .methods import STATUS
from .settings import EtcdSettings
from .versions import check_version

ASK_AGAIN_S: Final = 0.1
"""Between two attempts to reach anybody at the start."""

_log: Final = logging.getLogger("callboard.etcd")


class EtcdEngine:
    """See `seam.Engine`. One watch feeds all watchers, one transaction at a time commits."""

    def __init__(
        self,
        node: str,
        settings: EtcdSettings,
        connection: Connection,
    ) -> None:
        """Only for `open`."""
        self._node = node
        self._settings = settings
        self._connection = connection
        self._layout = Layout(settings.prefix, exclusive=settings.owned)
        self._election = Election(connection, self._layout)
        self._loader = Loader(connection, self._layout)
        self._cluster = Cluster(connection, owned=settings.owned)
        self._tasks: list[asyncio.Task[None]] = []
        self._cluster_id = 0
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, settings: EtcdSettings, *, node: str = "", ailment: Callable[[], str] = lambda: ""
    ) -> "EtcdEngine":
        """Connect to an etcd that has a leader. Raises `CannotStart`.

        `ailment` tells what is known of a member that does not answer, "" for nothing.
        """
        connection = Connection(settings, ailment)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(connection.close)
            engine = cls(node, settings, connection)
            engine._start(await engine._first_answer())
            undo.pop_all()
        return engine

    async def _first_answer(self) -> Position:
        deadline = asyncio.get_running_loop().time() + self._settings.start_s_max
        while True:
            try:
                await self._connection.authenticate()
                status = await self._connection.call_any(STATUS, StatusRequest())
                check_version(status.version)
                self._cluster_id = status.header.cluster_id
                return await read_position(self._connection, self._layout)
            except EngineError as error:
                for_good = isinstance(error, CannotStart | Unwritable | TokenRejected)
                if for_good or asyncio.get_running_loop().time() >= deadline:
                    endpoints = ", ".join(self._settings.endpoints)
                    raise CannotStart(f"the board cannot be at {endpoints}: {error}") from error
            await asyncio.sleep(ASK_AGAIN_S)

    def _start(self, position: Position) -> None:
        connection, layout = self._connection, self._layout
        self._feed = Feed(
            connection, layout, position, self._election.told, self._election.look_soon
        )
        self._confirmer = Confirmer(connection, layout, self._feed)
        self._committer = Committer(
            connection, layout, self._feed, self._settings.transaction_operations_max
        )
        self._tasks = [
            asyncio.create_task(self._feed.run(), name="etcd-watch"),
            asyncio.create_task(self._confirmer.run(), name="etcd-probe"),
            asyncio.create_task(self._cluster.run(), name="etcd-cluster"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def commit(
        self, operations: Sequence[Operation], guard: Guard | None = None
    ) -> Awaitable[list[Result]]:
        if guard is not None and guard != self._election.guard:
            raise Superseded("this node does not keep the leases any more")
        return self._committer.commit(operations, guard)

    async def load(self) -> tuple[int, AsyncIterator[Sequence[Pair]]]:
        return await self._loader.load()

    def watch(self, from_revision: int) -> AsyncIterator[Sequence[Change]]:
        """Ends when the engine is closed."""
        return Watch(self._feed.history, from_revision)

    async def confirm(self) -> int:
        return await self._confirmer.confirm()

    async def campaign(self, name: str, address: str = "") -> Guard:
        return await self._election.campaign(name, address)

    async def hold(self, guard: Guard) -> None:
        await self._election.hold(guard)

    async def resign(self) -> None:
        await self._election.resign()

    def keeper(self) -> Keeper | None:
        return self._election.keeper

    async def backup(self, path: str) -> int:
        """Raises `Refused` when the file exists or cannot be written."""
        return await write_backup(self._loader, path)

    def holds(self) -> bool:
        return self._election.holds()

    def identity(self) -> str:
        return f"{self._cluster_id:x}/{self._settings.prefix}"

    async def members(self) -> list[Member]:
        return await self._cluster.members()

    async def add_member(self, name: str, address: str) -> None:
        await self._cluster.add(name, address)

    async def remove_member(self, name: str) -> None:
        await self._cluster.remove(name)

    async def transfer_leadership(self) -> str:
        return await self._cluster.transfer()

    def staleness_ms(self) -> float:
        return self._confirmer.staleness_ms()

    def status(self) -> EngineStatus:
        silent = self._confirmer.reason
        reason = (
            (self._connection.ailment() if silent else "")
            or silent
            or self._cluster.alarm
            or self._committer.unwritable
        )
        return EngineStatus(
            kind="etcd",
            leader=self._cluster.leader,
            revision=self._feed.history.revision,
            staleness_ms=self.staleness_ms(),
            writable=not reason,
            reason=reason,
        )

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        async with AsyncExitStack() as steps:
            steps.push_async_callback(self._connection.close)
            steps.callback(self._feed.close)
            steps.push_async_callback(self._end_tasks)
            steps.push_async_callback(self._confirmer.close)
            steps.push_async_callback(self._cluster.close)
            steps.push_async_callback(self._election.close)
            steps.callback(self._loader.close)
            steps.push_async_callback(self._committer.close)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """None of them ends by itself. Without the watch or the probe the board would only grow
        stale, and look alive: the watchers are told instead."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("%s failed", task.get_name(), exc_info=error)
            self._feed.history.close(error)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # What ended a task remembers its stream, and the stream its socket.
        self._tasks.clear()
