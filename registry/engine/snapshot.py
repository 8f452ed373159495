"""Snapshot files: a consistent copy of a board in one file, checked when it is read."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from .layout import Damaged, check_header, connect_read_only, read_summary
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
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as error:
        raise Refused(f"{path} exists already: name a new file") from error
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from error
    try:
        return _copy(source, path)
    except (sqlite3.Error, OSError, Damaged) as error:
        Path(path).unlink(missing_ok=True)
        reason = describe(error) if isinstance(error, sqlite3.Error) else str(error)
        raise Refused(f"the snapshot {path} could not be written: {reason}") from error


def _copy(source: sqlite3.Connection, path: str) -> int:
    with closing(sqlite3.connect(path, isolation_level=None)) as target:
        source.backup(target)
        revision = read_summary(target).revision
        # One file, not one that expects a log beside it.
        target.execute("PRAGMA journal_mode = DELETE").fetchall()
    for synced in (path, os.path.dirname(os.path.abspath(path))):
        descriptor = os.open(synced, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return revision
