"""The transactions on `board.db`: plain and synchronous, for the one process that writes."""

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Final, NamedTuple

from .frames import Call
from .layout import DIGEST_MODULUS, Summary, row_checksum
from .seam import ABSENT, Refused

STATEMENT_ROWS_MAX: Final = 128
"""Rows in one statement: enough to make the cost of a statement vanish, and few enough that
one prepared statement of every size stays small (20 KiB the largest)."""
STATEMENTS_CACHED_MAX: Final = 3 * STATEMENT_ROWS_MAX + 16
"""One of every size for select, replace and delete, and the fixed ones."""
CHECKPOINT_PAGES: Final = 1024
"""Checkpoint when at most so many pages (4 MiB) are in the log. Commits wait for it: under 5 ms
here, where 16 MiB took up to 60 ms and made nothing faster."""
PAGE_BYTES: Final = 4096

_NOTHING_WRITTEN: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
)
"""Errors that SQLite gives before the commit record is whole, and after which it may go on.
They are not failed syncs: a later commit writes its pages anew."""


class Stopped(Exception):
    """Storage failed in a way after which nothing more may be written by this process.

    `unknown`: the calls under way may be found applied after a restart.
    """

    def __init__(self, reason: str, *, unknown: bool) -> None:
        super().__init__(reason)
        self.unknown = unknown


class _State(NamedTuple):
    """What is stored of a key, as far as conditions and the digest need it."""

    create_revision: int
    modify_revision: int
    checksum: int


class _Row(NamedTuple):
    key: bytes
    value: bytes
    create_revision: int
    modify_revision: int
    checksum: int


class _Transaction:
    """Calls one after the other against the states of their keys, before anything is written."""

    def __init__(self, summary: Summary, states: dict[bytes, _State]) -> None:
        self._summary = summary
        self._states = states
        self.revision, self.pairs, self.digest = summary
        self.rows: dict[bytes, _Row | None] = {}
        """What the keys shall be; None: gone."""
        self.results: list[int] = []

    @property
    def summary(self) -> Summary:
        return Summary(self.revision, self.pairs, self.digest % DIGEST_MODULUS)

    def apply(self, call: Call) -> None:
        for key, value, expect in call:
            state = self._states.get(key)
            current = state.modify_revision if state else ABSENT
            if (expect is not None and expect != current) or (state is None and value is None):
                self.results += (0, current)
            elif value is None:
                assert state is not None
                self._delete(key, state)
            else:
                self._put(key, value, state)

    def _put(self, key: bytes, value: bytes, state: _State | None) -> None:
        self.revision = revision = self.revision + 1
        if state is None:
            create = revision
            self.pairs += 1
        else:
            create = state.create_revision
            self.digest -= state.checksum
        checksum = row_checksum(key, value, create, revision)
        self.digest += checksum
        self._states[key] = _State(create, revision, checksum)
        self.rows[key] = _Row(key, value, create, revision, checksum)
        self.results += (revision, create)

    def _delete(self, key: bytes, state: _State) -> None:
        self.revision += 1
        self.pairs -= 1
        self.digest -= state.checksum
        del self._states[key]
        self.rows[key] = None
        self.results += (self.revision, state.create_revision)


class Store:
    """Owns the writing connection. `summary` is that of the last durable transaction."""

    def __init__(self, connection: sqlite3.Connection, summary: Summary) -> None:
        self._connection = connection
        self.summary = summary
        self._log_pages = CHECKPOINT_PAGES  # whatever the last process left goes first

    def apply(self, calls: Sequence[Call]) -> list[int]:
        """All calls in one synced transaction; a pair of integers for each operation.

        Raises `Refused` (nothing was written, a later call may succeed) or `Stopped`.
        """
        committing = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            transaction = _Transaction(self.summary, self._states(calls))
            for call in calls:
                transaction.apply(call)
            if not transaction.rows:
                self._connection.execute("ROLLBACK")
                return transaction.results
            self._write(transaction)
            committing = True
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._undo(error, committing=committing) from error
        self.summary = transaction.summary
        self._log_pages += _pages_at_most(transaction)
        return transaction.results

    def _states(self, calls: Sequence[Call]) -> dict[bytes, _State]:
        keys = list({operation[0] for operation in chain.from_iterable(calls)})
        states: dict[bytes, _State] = {}
        for start in range(0, len(keys), STATEMENT_ROWS_MAX):
            part = keys[start : start + STATEMENT_ROWS_MAX]
            for key, *state in self._connection.execute(_select_states(len(part)), part):
                states[key] = _State(*state)
        return states

    def _write(self, transaction: _Transaction) -> None:
        gone = [key for key, row in transaction.rows.items() if row is None]
        for start in range(0, len(gone), STATEMENT_ROWS_MAX):
            part = gone[start : start + STATEMENT_ROWS_MAX]
            self._connection.execute(_delete_rows(len(part)), part)
        rows = [row for row in transaction.rows.values() if row is not None]
        for start in range(0, len(rows), STATEMENT_ROWS_MAX):
            some = rows[start : start + STATEMENT_ROWS_MAX]
            self._connection.execute(_replace_rows(len(some)), list(chain.from_iterable(some)))
        self._connection.execute(
            "UPDATE meta SET revision = ?, pairs = ?, digest = ?, checksum = ? WHERE id = 1",
            transaction.summary.row(),
        )

    def _undo(self, error: sqlite3.Error, *, committing: bool) -> Refused | Stopped:
        reason = describe(error)
        if primary_code(error) not in _NOTHING_WRITTEN:
            return Stopped(reason, unknown=committing)
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            return Stopped(f"{reason}; and then {describe(second)}", unknown=committing)
        return Refused(reason)

    def checkpoint_if_due(self) -> None:
        """Copy the log into the database file when it has grown. Raises `Stopped`.

        Only this process checkpoints, and never while it writes: SQLite before 3.51.3 can lose
        commits when one connection checkpoints while another begins the log anew.
        """
        if self._log_pages >= CHECKPOINT_PAGES:
            self._log_pages = 0
            self._checkpoint("PASSIVE")

    def _checkpoint(self, mode: str) -> None:
        try:
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except sqlite3.Error as error:
            # Without space the log stays whole and is tried again when it has grown further.
            # After a failed sync the kernel may have dropped the pages: never try again.
            if primary_code(error) not in _NOTHING_WRITTEN:
                raise Stopped(describe(error), unknown=False) from error

    def close(self) -> None:
        """Empty the log into the database file and let go. Raises `Stopped`."""
        self._checkpoint("TRUNCATE")
        self._connection.close()


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its details; 0 for the binding's own errors."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def describe(error: sqlite3.Error) -> str:
    """What happened, for people."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return "there is no space left for the data directory: free some"
    if code == sqlite3.SQLITE_READONLY:
        return "the data directory cannot be written to any more (read-only, or moved away)"
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code == sqlite3.SQLITE_IOERR:
        return f"the disk failed ({name}): look at the kernel's log"
    return f"{error} ({name})"


def _pages_at_most(transaction: _Transaction) -> int:
    values = sum(len(row.value) for row in transaction.rows.values() if row is not None)
    return len(transaction.rows) + values // PAGE_BYTES + 1


# Nothing but question marks is ever put into a statement.


@cache
def _select_states(rows: int) -> str:
    columns = "key, create_revision, modify_revision, checksum"
    return f"SELECT {columns} FROM pair WHERE key IN ({','.join('?' * rows)})"  # noqa: S608


@cache
def _delete_rows(rows: int) -> str:
    return f"DELETE FROM pair WHERE key IN ({','.join('?' * rows)})"  # noqa: S608


@cache
def _replace_rows(rows: int) -> str:
    return f"REPLACE INTO pair VALUES {','.join(['(?,?,?,?,?)'] * rows)}"  # noqa: S608
