"""Getting at the files of a data directory: locks, creation, and checks before the first write."""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from .layout import (
    DATABASE_FILE,
    NODE_LOCK_FILE,
    WAL_SUFFIX,
    WRITER_LOCK_FILE,
    Damaged,
    Summary,
    check_header,
    connect_read_only,
    create_tables,
    read_summary,
)
from .seam import CannotStart
from .store import STATEMENTS_CACHED_MAX, Store, describe, primary_code
from .wal import WalDamaged, check_wal

WRITER_LOCK_WAIT_S: Final = 30.0
"""A killed node's writer finishes its commit first: as long as a slow disk may take for it."""
WRITER_LOCK_POLL_S: Final = 0.01
BUSY_TIMEOUT_S: Final = 1.0
"""Nobody else should have the file open; a look with the sqlite3 tool passes in this time."""
CACHE_KIB: Final = 16 * 1024
"""Holds the inner pages of a million pairs, so that a put reads one leaf at most."""
WAL_VERSIONS: Final = bytes((2, 2))
"""Bytes 18 and 19 of the file: written and read through a log. Anything else would be read, but
not written, or be written without the log."""
LOG_KEPT_BYTES: Final = 64 * 1024 * 1024
"""A log that one huge commit has blown up is cut to this when it begins anew."""

_NOT_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Errors that speak of the system and not of the stored data."""


def lock_node(data_dir: Path) -> int:
    """Make the directory and lock it for this process; the descriptor that holds the lock.

    Raises `CannotStart`.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = _open_lock(data_dir / NODE_LOCK_FILE)
    except OSError as error:
        raise unusable(data_dir, error) from error
    if not _locked(descriptor):
        os.close(descriptor)
        raise CannotStart(
            f"the data directory {data_dir} is in use by another process:"
            " stop that one, or give this one another --data-dir"
        )
    return descriptor


def lock_writer(data_dir: Path) -> int:
    """Wait for the writer of a killed node. The lock ends with the process. `CannotStart`."""
    try:
        descriptor = _open_lock(data_dir / WRITER_LOCK_FILE)
    except OSError as error:
        raise unusable(data_dir, error) from error
    deadline = time.monotonic() + WRITER_LOCK_WAIT_S
    while not _locked(descriptor):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise CannotStart(
                f"the writer of an earlier node is still at work in {data_dir}:"
                " its disk may hang; wait for it to end"
            )
        time.sleep(WRITER_LOCK_POLL_S)
    return descriptor


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_store(data_dir: Path) -> Store:
    """Create or open the database, and check all that can be without reading every pair.

    Raises `CannotStart`.
    """
    path = data_dir / DATABASE_FILE
    wal = data_dir / (DATABASE_FILE + WAL_SUFFIX)
    try:
        if not path.exists():
            if wal.exists():
                raise CannotStart(
                    f"{path} is missing while its log {wal} is there:"
                    " put it back, or restore a snapshot into an empty directory"
                )
            _create(path)
        with named_damage(path):
            _check_writable(path)
            if wal.exists():
                check_wal(wal.read_bytes())
            summary = _check(path)
            return _open(path, summary)
    except OSError as error:
        raise unusable(data_dir, error) from error


@contextmanager
def named_damage(path: Path) -> Iterator[None]:
    """Turns whatever shows that the stored data are damaged into `CannotStart`."""
    try:
        yield
    except WalDamaged as error:
        raise _damaged(f"{path}{WAL_SUFFIX}", str(error)) from error
    except (Damaged, UnicodeDecodeError) as error:  # of a message that quotes damaged text
        raise _damaged(str(path), str(error)) from error
    except sqlite3.Error as error:
        if primary_code(error) in _NOT_DAMAGE:
            raise CannotStart(f"{path} cannot be used: {describe(error)}") from error
        raise _damaged(str(path), describe(error)) from error


def _damaged(path: str, reason: str) -> CannotStart:
    return CannotStart(
        f"{path} cannot be used: {reason}. Keep a copy of the directory, then start with an"
        " empty one and restore a snapshot"
    )


def unusable(data_dir: Path, error: OSError) -> CannotStart:
    """What to tell about a directory that the operating system does not let us use."""
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason += f" (the process runs as user {os.geteuid()})"
    return CannotStart(
        f"the data directory {data_dir} cannot be used: {reason}:"
        " make it a directory that this user can write, or give another --data-dir"
    )


def _create(path: Path) -> None:
    """An empty board, whole under its name or not there at all.

    So a database without tables is always a damaged one, never one that was just begun.
    """
    new = path.with_suffix(".new")
    for leftover in (new, *(Path(f"{new}-{suffix}") for suffix in ("journal", "wal", "shm"))):
        leftover.unlink(missing_ok=True)
    with named_damage(new), closing(sqlite3.connect(new, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN")
        create_tables(connection)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    new.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _check_writable(path: Path) -> None:
    """SQLite would open the file read-only and say so only at the first write."""
    with path.open("r+b", buffering=0) as file:
        versions = file.read(100)[18:20]
    if versions != WAL_VERSIONS:
        raise Damaged("it is not a board, or its header is damaged")


def _check(path: Path) -> Summary:
    """Everything but the rows themselves, with a connection that writes to nothing.

    A damaged board must stay as it is: closing a connection that can write would checkpoint.
    """
    with closing(connect_read_only(str(path))) as connection:
        check_header(connection)
        # What row checksums do not see: free pages and free space that are in use as well. They
        # are harmless to read, but the next write would put new rows over old ones.
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise Damaged(" ".join(found.split()))
        return read_summary(connection)


def _open(path: Path, summary: Summary) -> Store:
    connection = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        cached_statements=STATEMENTS_CACHED_MAX,
    )
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}").fetchall()
    return Store(connection, summary)
