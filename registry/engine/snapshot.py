"""Snapshot files: a consistent copy of a board in one file, checked when it is read."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from .layout import (
    DIGEST_MODULUS,
    Damaged,
    Summary,
    check_header,
    connect_read_only,
    create_tables,
    read_summary,
    row_checksum,
)
from .pages import checked_pages
from .seam import EngineError, Pair, Refused
from .store import describe


class SnapshotDamaged(EngineError):
    """The file is no snapshot, is of another version, or is not what was written."""


def read_snapshot(path: str) -> Iterator[Sequence[Pair]]:
    """All pairs in pages. Raises `SnapshotDamaged`, perhaps only after the last page.

    Do nothing with the pairs before the iterator has come to its end.
    """
    try:
        with Path(path).open("rb"):
            pass  # SQLite would only say that it cannot
        with closing(connect_read_only(path, immutable=True)) as connection:
            check_header(connection)
            yield from checked_pages(connection, read_summary(connection))
    except (Damaged, OSError, UnicodeDecodeError) as error:  # of a message that quotes damage
        raise SnapshotDamaged(f"{path} cannot be used as a snapshot: {error}") from error
    except sqlite3.Error as error:
        raise SnapshotDamaged(f"{path} cannot be used as a snapshot: {describe(error)}") from error


def write_snapshot(source: sqlite3.Connection, path: str) -> int:
    """Copy the board to a new, synced file; the revision it holds.

    Raises `Refused`, and then leaves no file.
    """
    _claim(path)
    with _nothing_left_behind(path), closing(sqlite3.connect(path, isolation_level=None)) as target:
        source.backup(target)
        revision = read_summary(target).revision
        # One file, not one that expects a log beside it.
        target.execute("PRAGMA journal_mode = DELETE").fetchall()
        _sync(path)
    return revision


class SnapshotWriter:
    """Writes pairs that come in pages, each key once, to a new file.

    All methods block, and raise `Refused`; then no file is left.
    """

    def __init__(self, path: str) -> None:
        _claim(path)
        self._path = path
        self._pairs = self._digest = 0
        with _nothing_left_behind(path):
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # It is synced once, at its end: until then nobody has been promised anything.
            self._connection.execute("PRAGMA journal_mode = OFF").fetchall()
            self._connection.execute("PRAGMA synchronous = OFF")
            create_tables(self._connection)
            self._connection.execute("BEGIN")

    def add(self, page: Sequence[Pair]) -> None:
        rows = [(*pair, row_checksum(*pair)) for pair in page]
        self._pairs += len(rows)
        self._digest += sum(row[4] for row in rows)
        with _nothing_left_behind(self._path):
            self._connection.executemany("INSERT INTO pair VALUES (?, ?, ?, ?, ?)", rows)

    def finish(self, revision: int) -> None:
        summary = Summary(revision, self._pairs, self._digest % DIGEST_MODULUS)
        with _nothing_left_behind(self._path):
            self._connection.execute("DELETE FROM meta")
            self._connection.execute("INSERT INTO meta VALUES (1, ?, ?, ?, ?)", summary.row())
            self._connection.execute("COMMIT")
            self._connection.close()
            _sync(self._path)

    def give_up(self) -> None:
        """Leave no file."""
        self._connection.close()
        Path(self._path).unlink(missing_ok=True)


def _claim(path: str) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as error:
        raise Refused(f"{path} exists already: name a new file") from error
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def _nothing_left_behind(path: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, Damaged) as error:
        Path(path).unlink(missing_ok=True)
        reason = describe(error) if isinstance(error, sqlite3.Error) else str(error)
        raise Refused(f"the snapshot {path} could not be written: {reason}") from error


def _sync(path: str) -> None:
    for synced in (path, os.path.dirname(os.path.abspath(path))):
        descriptor = os.open(synced, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
