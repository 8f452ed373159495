"""Consistent reads of the board beside its writer, in a thread of their own."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from .layout import DATABASE_FILE, connect_read_only, read_summary
from .opening import named_damage
from .pages import checked_pages
from .seam import Pair, Refused
from .snapshot import write_snapshot

T = TypeVar("T")


class Reader:
    """Loads and backups, one step at a time; each has a connection that cannot write.

    One more connection stays open and does nothing: as long as it does, nobody reads the log
    anew. When the writer has ended after a failed sync, a connection that came first would find
    the commit that failed in the log, and show it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / DATABASE_FILE
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-read")
        self._keeper: sqlite3.Connection | None = None
        self._open: set[sqlite3.Connection] = set()
        self._closed = False

    async def start(self) -> None:
        """While the writer has the board open. Raises `CannotStart`."""
        self._keeper = await self._run(self._connect)

    async def load(self) -> tuple[int, AsyncIterator[Sequence[Pair]]]:
        """The revision of a consistent copy, and its pairs. Raises `CannotStart`."""
        connection, revision, pages = await self._run(self._begin)
        return revision, self._pages(connection, pages)

    async def backup(self, path: str) -> int:
        """Raises `Refused`."""
        return await self._run(lambda: self._backup(path))

    async def end_loads(self) -> None:
        """Waits for the step under way; loads that go on after it raise `Refused`."""
        await self._run(self._close_connections)
        self._closed = True

    def close(self) -> None:
        """After the writer, and after `end_loads`."""
        self._thread.shutdown()
        if self._keeper is not None:
            self._keeper.close()

    async def _run(self, step: Callable[[], T]) -> T:
        if self._closed:
            raise Refused("this node is stopping")
        return await asyncio.get_running_loop().run_in_executor(self._thread, step)

    async def _pages(
        self, connection: sqlite3.Connection, pages: Iterator[Sequence[Pair]]
    ) -> AsyncIterator[Sequence[Pair]]:
        try:
            while (page := await self._run(lambda: self._next(connection, pages))) is not None:
                yield page
        finally:
            if not self._closed:
                await self._run(lambda: self._release(connection))

    def _connect(self) -> sqlite3.Connection:
        with named_damage(self._path):
            connection = connect_read_only(str(self._path))
            try:
                read_summary(connection)  # SQLite looks at the file and its log only now
            except BaseException:
                connection.close()
                raise
            return connection

    def _begin(self) -> tuple[sqlite3.Connection, int, Iterator[Sequence[Pair]]]:
        with named_damage(self._path):
            connection = self._connect()
            self._open.add(connection)
            try:
                revision, pages = begin_load(connection)
            except BaseException:
                self._release(connection)
                raise
            return connection, revision, pages

    def _next(
        self, connection: sqlite3.Connection, pages: Iterator[Sequence[Pair]]
    ) -> Sequence[Pair] | None:
        if connection not in self._open:
            raise Refused("this node is stopping")
        with named_damage(self._path):
            return next(pages, None)

    def _backup(self, path: str) -> int:
        try:
            with closing(connect_read_only(str(self._path))) as source:
                return write_snapshot(source, path)
        except sqlite3.Error as error:
            raise Refused(f"the board cannot be read: {error}") from error

    def _release(self, connection: sqlite3.Connection) -> None:
        self._open.discard(connection)
        connection.close()

    def _close_connections(self) -> None:
        for connection in list(self._open):
            self._release(connection)


def begin_load(connection: sqlite3.Connection) -> tuple[int, Iterator[Sequence[Pair]]]:
    """A consistent copy's revision, and its pairs, checked as they come.

    Raises `Damaged` or `sqlite3.Error`, now or while the pages are read.
    """
    connection.execute("BEGIN")
    summary = read_summary(connection)
    return summary.revision, checked_pages(connection, summary)
