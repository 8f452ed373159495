"""The SQLite engine: one node, durable, nothing to install."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from .history import Watch
from .opening import lock_node
from .reader import Reader
from .seam import (
    Change,
    EngineStatus,
    Guard,
    Keeper,
    Member,
    Operation,
    Pair,
    Result,
    StandsAlone,
    Superseded,
)
from .writers import Writers

ELECTION_KEY = b"keeper"
"""Names the only election of an engine; a node that stands alone always wins it."""

_ALONE: Final = "which stands alone on its embedded engine"


class SqliteEngine:
    """See `seam.Engine`. A writer process commits; reads have connections of their own."""

    def __init__(self, node: str, lock: int, writers: Writers, reader: Reader) -> None:
        """Only for `open`."""
        self._node = node
        self._lock = lock
        self._writers = writers
        self._reader = reader
        self._elections = 0
        self._guard: Guard | None = None
        self._resigned = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, data_dir: str | os.PathLike[str], *, node: str = "") -> "SqliteEngine":
        """Open or create the board in `data_dir`. Raises `CannotStart`."""
        directory = Path(os.path.abspath(data_dir))  # noqa: ASYNC240  # touches no file
        async with AsyncExitStack() as undo:
            lock = await asyncio.to_thread(lock_node, directory)
            undo.callback(os.close, lock)
            writers = await Writers.start(directory)
            undo.push_async_callback(writers.close)
            reader = Reader(directory)
            undo.callback(reader.close)
            await reader.start()
            undo.pop_all()
        return cls(node, lock, writers, reader)

    def commit(
        self, operations: Sequence[Operation], guard: Guard | None = None
    ) -> Awaitable[list[Result]]:
        if guard is not None and guard != self._guard:
            raise Superseded("this node does not keep the leases any more")
        return self._writers.commit(operations)

    async def load(self) -> tuple[int, AsyncIterator[Sequence[Pair]]]:
        return await self._reader.load()

    def watch(self, from_revision: int) -> AsyncIterator[Sequence[Change]]:
        """Ends when the engine is closed."""
        return Watch(self._writers.history, from_revision)

    async def confirm(self) -> int:
        return self._writers.history.revision

    async def campaign(self, name: str, address: str = "") -> Guard:
        self._elections += 1
        self._guard = Guard(ELECTION_KEY + b"/" + name.encode(), self._elections)
        self._resigned.clear()
        return self._guard

    async def hold(self, guard: Guard) -> None:
        while guard == self._guard:
            await self._resigned.wait()

    async def resign(self) -> None:
        self._guard = None
        self._resigned.set()

    def keeper(self) -> Keeper | None:
        return None if self._guard is None else Keeper(self._node, "")

    async def backup(self, path: str) -> int:
        """Raises `Refused` when the file exists or cannot be written."""
        return await self._reader.backup(path)

    def holds(self) -> bool:
        return True

    def identity(self) -> str:
        return ""

    async def members(self) -> list[Member]:
        return [Member(self._node, "", leader=True, healthy=self._writers.stopped == "")]

    async def add_member(self, name: str, address: str) -> None:
        raise StandsAlone(f"{name!r} cannot join {self._node!r}, {_ALONE}")

    async def remove_member(self, name: str) -> None:
        raise StandsAlone(f"{name!r} cannot be removed from {self._node!r}, {_ALONE}")

    async def transfer_leadership(self) -> str:
        raise StandsAlone(f"there is no other node to hand over to from {self._node!r}, {_ALONE}")

    def staleness_ms(self) -> float:
        return 0.0

    def status(self) -> EngineStatus:
        reason = self._writers.stopped or self._writers.refused
        return EngineStatus(
            kind="sqlite",
            leader=self._node,
            revision=self._writers.history.revision,
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
            steps.callback(os.close, self._lock)
            steps.callback(self._reader.close)
            steps.push_async_callback(self._writers.close)
            await self._reader.end_loads()
