"""The stored format: files, tables, and the checksums that make every flipped bit visible."""

import sqlite3
import struct
import zlib
from typing import Final, NamedTuple
from urllib.parse import quote

from .seam import Pair

FORMAT_VERSION: Final = 1
APPLICATION_ID: Final = 0x63626F61
"""Marks the file as ours (SQLite's header field of that name), so that no other is opened."""

DATABASE_FILE: Final = "board.db"
WAL_SUFFIX: Final = "-wal"
NODE_LOCK_FILE: Final = "lock"
"""Held by the node: what a second node on the same directory runs into."""
WRITER_LOCK_FILE: Final = "writer.lock"
"""Held by the writer process, which may outlive a killed node by the commit it is in."""

CREATE_PAIR: Final = (
    "CREATE TABLE pair (key BLOB PRIMARY KEY, value BLOB NOT NULL,"
    " create_revision INTEGER NOT NULL, modify_revision INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL) WITHOUT ROWID"
)
CREATE_META: Final = (
    "CREATE TABLE meta (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL,"
    " pairs INTEGER NOT NULL, digest INTEGER NOT NULL, checksum INTEGER NOT NULL)"
)
SELECT_PAIRS: Final = (
    "SELECT key, value, create_revision, modify_revision, checksum FROM pair ORDER BY key"
)
DIGEST_MODULUS: Final = 1 << 63
"""SQLite integers are signed and have 64 bits."""

_row_header: Final = struct.Struct(">QQI")
_summary: Final = struct.Struct(">QQQ")


class Damaged(Exception):
    """Stored data are not what was written; the message names the place."""


class Summary(NamedTuple):
    """What `meta` says of all pairs: a lost, doubled or stale row makes it disagree."""

    revision: int
    pairs: int
    digest: int

    def row(self) -> tuple[int, int, int, int]:
        return (*self, zlib.crc32(_summary.pack(*self)))


EMPTY: Final = Summary(revision=0, pairs=0, digest=0)


def row_checksum(key: bytes, value: bytes, create_revision: int, modify_revision: int) -> int:
    """Over all columns; the key's length keeps "a" + "bc" apart from "ab" + "c"."""
    header = _row_header.pack(create_revision, modify_revision, len(key))
    return zlib.crc32(value, zlib.crc32(key, zlib.crc32(header)))


def check_row(row: tuple[object, ...]) -> Pair:
    """The pair of a row as `SELECT_PAIRS` gives it. Raises `Damaged`, naming the key."""
    key, value, create, modify, stored = row
    # A flipped bit in a record header changes types, too: TEXT would hide from lookups by BLOB.
    if (
        type(key) is bytes
        and type(value) is bytes
        and type(create) is int
        and type(modify) is int
        and 0 < create <= modify
        and row_checksum(key, value, create, modify) == stored
    ):
        return Pair(key, value, create, modify)
    raise Damaged(f"the checksum of the pair {key!r:.200} is wrong")


def read_summary(connection: sqlite3.Connection) -> Summary:
    """The only row of `meta`. Raises `Damaged`, `sqlite3.Error`."""
    rows = connection.execute("SELECT id, revision, pairs, digest, checksum FROM meta").fetchall()
    if len(rows) == 1 and all(type(column) is int and column >= 0 for column in rows[0]):
        summary = Summary(*rows[0][1:4])
        if rows[0][0] == 1 and summary.row()[3] == rows[0][4]:
            return summary
    raise Damaged("the checksum of the table meta is wrong")


def check_header(connection: sqlite3.Connection) -> None:
    """Whether the file is ours and of this version. Raises `Damaged`, `sqlite3.Error`."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise Damaged("it is not a board, or its header is damaged")
    if version != FORMAT_VERSION:
        raise Damaged(
            f"it has format version {version} and this callboard reads {FORMAT_VERSION}:"
            " use the callboard that wrote it"
        )
    tables = connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()
    if tables != [(CREATE_META,), (CREATE_PAIR,)]:
        raise Damaged("its table of tables is not what was written")


def create_tables(connection: sqlite3.Connection) -> None:
    """Make an empty board in an empty database."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    connection.execute(CREATE_PAIR)
    connection.execute(CREATE_META)
    connection.execute("INSERT INTO meta VALUES (1, ?, ?, ?, ?)", EMPTY.row())


def connect_read_only(path: str, *, immutable: bool = False) -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint; `immutable` takes no locks either.

    It may move between threads, one at a time.
    """
    options = "mode=ro&immutable=1" if immutable else "mode=ro"
    connection = sqlite3.connect(
        f"file:{quote(path)}?{options}", uri=True, isolation_level=None, check_same_thread=False
    )
    # Damaged text must reach `check_row` instead of failing to decode; table names are ASCII.
    connection.text_factory = _text
    return connection


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
