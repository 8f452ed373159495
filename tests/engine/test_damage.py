"""A flipped bit anywhere is found and named, or was in dead space; never other content."""

import random
import re
import shutil
import sqlite3
import struct
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from callboard.registry.engine import CannotStart, Put, SnapshotDamaged, read_snapshot
from callboard.registry.engine.layout import connect_read_only
from callboard.registry.engine.opening import named_damage, open_store
from callboard.registry.engine.reader import begin_load

PAGE_BYTES = 4096
FLIPS = 400
"""Of single bits at random, besides those in headers; in the log, which is longer, half."""


def load(data_dir):
    path = data_dir / "board.db"
    with named_damage(path), closing(connect_read_only(str(path))) as connection:
        revision, pages = begin_load(connection)
        return revision, {pair.key: pair.value for page in pages for pair in page}


def write_much(store, rng, content, rounds=4):
    """Grows, shrinks and replaces, so that free pages and free space come to be used."""
    for _ in range(rounds):
        call = []
        for number in rng.sample(range(40), 20):
            key = b"key-%03d" % number
            value = None if rng.random() < 0.4 else rng.randbytes(rng.choice((5, 90, 700, 6000)))
            if value is None and content.pop(key, None) is None:
                continue
            if value is not None:
                content[key] = value
            call.append((key, value, None))
        store.apply([call])


@pytest.fixture
def closed_board(tmp_path):
    """A board after a clean stop, with free pages and overflow pages; and its content."""
    data_dir = tmp_path / "closed"
    data_dir.mkdir()
    content = {}
    store = open_store(data_dir)
    write_much(store, random.Random(6), content)
    store.close()
    return data_dir, content


@pytest.fixture
def killed_board(tmp_path):
    """A board with half of it in the log, as kill -9 leaves it.

    With its content, the content before the last transaction, and where that begins in the log.
    """
    data_dir = tmp_path / "running"
    data_dir.mkdir()
    wal = data_dir / "board.db-wal"
    content = {}
    store = open_store(data_dir)
    rng = random.Random(7)
    write_much(store, rng, content)
    store.checkpoint_if_due()
    store.apply([[(b"begins the log anew", b"", None)]])
    content[b"begins the log anew"] = b""
    write_much(store, rng, content, rounds=3)
    before = dict(content)
    last_start = live_bytes(wal.read_bytes())
    write_much(store, rng, content, rounds=1)
    killed = tmp_path / "killed"
    shutil.copytree(data_dir, killed, ignore=lambda *_: ["board.db-shm"])
    store.close()
    return killed, content, before, last_start


def live_bytes(wal):
    """Where the frames end that carry the salts of the header."""
    end = 32
    while wal[end + 8 : end + 16] == wal[16:24] and end < len(wal):
        end += 24 + PAGE_BYTES
    return end


def flips(path, rng, places, count=FLIPS):
    """Copies with one bit flipped; in the file's headers densely, elsewhere at random."""
    data = path.read_bytes()
    chosen = sorted({*places, *(rng.randrange(len(data)) for _ in range(count))})
    for offset in chosen:
        changed = bytearray(data)
        changed[offset] ^= 1 << rng.randrange(8)
        yield offset, bytes(changed)


def outcome(data_dir, rng):
    """What a start shows, and whether more writing then goes well. Raises `CannotStart`."""
    store = open_store(data_dir)
    try:
        _, content = load(data_dir)
    except CannotStart:
        store._connection.close()
        raise
    later = dict(content)
    write_much(store, rng, later, rounds=2)
    store.close()
    open_store(data_dir).close()
    assert load(data_dir)[1] == later
    return content


@pytest.fixture
def memory_dir():
    """Where syncs cost nothing, if there is such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


def test_a_flipped_bit_in_the_database_is_found_or_harmless(closed_board, memory_dir):
    """Harmless even when the board is then written to."""
    data_dir, content = closed_board
    size = (data_dir / "board.db").stat().st_size
    headers = [*range(100), *(page + n for page in range(0, size, PAGE_BYTES) for n in range(14))]
    found = 0
    for offset, data in flips(data_dir / "board.db", random.Random(8), headers):
        copy = memory_dir / "copy"
        copy.mkdir()
        (copy / "board.db").write_bytes(data)
        try:
            assert outcome(copy, random.Random(offset)) == content, offset
        except CannotStart as error:
            assert re.search(r"^\S+board\.db cannot be used: .+\. Keep a copy", str(error))  # noqa: PT017
            found += 1
        shutil.rmtree(copy)
    assert found > FLIPS / 2


def test_a_flipped_bit_in_the_log_is_found_or_harmless(killed_board, memory_dir):
    """Only in the last transaction it cannot be told from a torn write."""
    data_dir, content, before, last_start = killed_board
    found = 0
    frames = range(32, (data_dir / "board.db-wal").stat().st_size, 24 + PAGE_BYTES)
    headers = [*range(32), *(frame + n for frame in frames for n in (0, 3, 7, 9, 14, 17, 22))]
    for offset, data in flips(data_dir / "board.db-wal", random.Random(9), headers, FLIPS // 2):
        copy = memory_dir / "copy"
        copy.mkdir()
        shutil.copyfile(data_dir / "board.db", copy / "board.db")
        (copy / "board.db-wal").write_bytes(data)
        try:
            shown = outcome(copy, random.Random(offset))
            assert shown == content or (offset >= last_start and shown == before), offset
        except CannotStart as error:
            assert "cannot be used: " in str(error)  # noqa: PT017
            found += 1
        shutil.rmtree(copy)
    assert found > FLIPS / 8


def test_a_flipped_bit_in_a_value_names_its_key(closed_board):
    data_dir, content = closed_board
    key = next(key for key, value in content.items() if len(value) == 700)
    path = data_dir / "board.db"
    data = bytearray(path.read_bytes())
    data[data.index(content[key]) + 350] ^= 4
    path.write_bytes(data)
    with pytest.raises(CannotStart, match=re.escape(f"checksum of the pair {key!r}")):
        outcome(data_dir, random.Random(1))


async def test_the_engine_refuses_a_damaged_board_with_that_message(open_sqlite):
    engine = await open_sqlite()
    await engine.commit([Put(b"name", b"some value")])
    await engine.close()
    path = open_sqlite.data_dir / "board.db"
    path.write_bytes(path.read_bytes().replace(b"some value", b"same value"))
    engine = await open_sqlite()
    revision, pages = await engine.load()
    assert revision == 1
    with pytest.raises(CannotStart, match="checksum of the pair b'name' is wrong"):
        await anext(pages)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM pair WHERE key = (SELECT min(key) FROM pair)",
        "UPDATE pair SET value = x'00' WHERE key = (SELECT min(key) FROM pair)",
        "UPDATE pair SET key = CAST(key AS TEXT) WHERE key = (SELECT min(key) FROM pair)",
        "UPDATE meta SET revision = revision + 1",
        "UPDATE meta SET checksum = checksum + 1",
        "DELETE FROM meta",
        "INSERT INTO meta SELECT 2, revision, pairs, digest, checksum FROM meta",
        "CREATE TABLE another (a)",
    ],
)
def test_a_change_made_behind_our_back_is_found(closed_board, statement):
    data_dir, _ = closed_board
    with closing(sqlite3.connect(data_dir / "board.db", isolation_level=None)) as connection:
        connection.execute(statement)
    with pytest.raises(CannotStart):
        outcome(data_dir, random.Random(1))


def test_a_row_put_back_to_an_older_state_is_found(closed_board):
    """Its own checksum is right; the digest of all rows is not."""
    data_dir, content = closed_board
    path = data_dir / "board.db"
    key = min(content)
    old = closing(sqlite3.connect(path, isolation_level=None))
    with old as connection:
        row = connection.execute("SELECT * FROM pair WHERE key = ?", (key,)).fetchone()
    store = open_store(data_dir)
    store.apply([[(key, b"newer", None)]])
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("REPLACE INTO pair VALUES (?, ?, ?, ?, ?)", row)
    with pytest.raises(CannotStart, match="missing, doubled or out of date"):
        outcome(data_dir, random.Random(1))


async def test_a_damaged_or_foreign_snapshot_is_refused(open_sqlite, tmp_path):
    engine = await open_sqlite()
    rng = random.Random(10)
    content = {b"%d" % number: rng.randbytes(300) for number in range(50)}
    await engine.commit([Put(key, value) for key, value in content.items()])
    path = tmp_path / "snapshot"
    await engine.backup(str(path))

    def read(data):
        copy = tmp_path / "copy"
        copy.write_bytes(data)
        return {pair.key: pair.value for page in read_snapshot(str(copy)) for pair in page}

    good = path.read_bytes()
    assert read(good) == content
    found = 0
    for offset, data in flips(path, rng, range(120)):
        try:
            assert read(data) == content, offset
        except SnapshotDamaged:
            found += 1
    assert found > FLIPS / 2
    for rubbish in (
        b"",
        b"{}",
        good[: len(good) // 2],
        good[:60] + struct.pack(">I", 2) + good[64:],
    ):
        with pytest.raises(SnapshotDamaged):
            read(rubbish)
    with pytest.raises(SnapshotDamaged, match="No such file"):
        next(read_snapshot(str(tmp_path / "missing")))
    with pytest.raises(SnapshotDamaged):
        next(read_snapshot(str(tmp_path)))
