"""A log that SQLite would cut short is refused; one with a torn end is in order."""

import random
import sqlite3
import struct

import pytest
from callboard.registry.engine.wal import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    WalDamaged,
    check_wal,
)

PAGE_BYTES = 512
FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES
TRANSACTIONS = 6


class Log:
    """A database of small pages, and the log of its transactions as a crash would leave it."""

    def __init__(self, path):
        self.path = path
        self.wal = path.with_name(path.name + "-wal")
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.ends = []

    def write(self, transactions=TRANSACTIONS):
        """Transactions of three frames or more; notes where each ends."""
        for number in range(transactions):
            self.connection.execute("BEGIN")
            for row in range(4):
                self.connection.execute(
                    "REPLACE INTO t VALUES (?, ?)", (row * 10, random.Random(number).randbytes(400))
                )
            self.connection.execute("COMMIT")
            self.ends.append(self.live_bytes())
        return self.data()

    def live_bytes(self):
        (_, frames, _) = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return HEADER_BYTES + frames * FRAME_BYTES

    def data(self):
        return bytearray(self.wal.read_bytes())


@pytest.fixture
def log(tmp_path):
    made = Log(tmp_path / "t.db")
    yield made
    made.connection.close()


@pytest.fixture
def written(tmp_path):
    """A log that was never checkpointed, so that every transaction is in it."""
    path = tmp_path / "w.db"
    made = Log(path)
    made.live_bytes = lambda: made.wal.stat().st_size
    data = made.write()
    assert len(made.ends) == TRANSACTIONS
    assert data[: made.ends[0]]
    yield data, made.ends
    made.connection.close()


def flipped(data, offset, bit):
    changed = bytearray(data)
    changed[offset] ^= 1 << bit
    return bytes(changed)


def test_a_whole_log_is_in_order(written):
    check_wal(bytes(written[0]))


def test_a_log_cut_at_any_byte_is_in_order(written):
    """A crash while frames are appended."""
    data, _ = written
    for size in range(0, len(data), 7):
        check_wal(bytes(data[:size]))


@pytest.mark.parametrize("tail", [bytes(3 * FRAME_BYTES), random.Random(1).randbytes(5000)])
def test_rubbish_behind_the_end_is_in_order(written, tail):
    check_wal(bytes(written[0]) + tail)


def flips_to_try(start, end, rng):
    """Every byte of every frame's header, and some of the pages."""
    offsets = rng.sample(range(start, end), 300)
    for frame in range(HEADER_BYTES, end, FRAME_BYTES):
        offsets += [place for place in range(frame, frame + FRAME_HEADER_BYTES) if place >= start]
    return [(offset, bit) for offset in offsets for bit in rng.sample(range(8), 3)]


def test_a_flipped_bit_before_the_last_two_transactions_is_found(written):
    data, ends = written
    for offset, bit in flips_to_try(0, ends[-3], random.Random(4)):
        with pytest.raises(WalDamaged):
            check_wal(flipped(data, offset, bit))


def test_a_flipped_bit_in_the_last_but_one_is_found_unless_it_hits_the_commit_mark(written):
    data, ends = written
    last_header = range(ends[-2] - FRAME_BYTES, ends[-2] - FRAME_BYTES + 8)
    for offset, bit in flips_to_try(ends[-3], ends[-2], random.Random(4)):
        if offset not in last_header:
            with pytest.raises(WalDamaged):
                check_wal(flipped(data, offset, bit))


def test_the_damaged_place_is_named(written):
    data, ends = written
    with pytest.raises(WalDamaged, match=f"frame at byte {ends[0]} is damaged"):
        check_wal(flipped(data, ends[0] + 100, 0))


def test_pages_of_the_last_transaction_that_never_reached_the_disk_are_in_order(written):
    """A power cut while it was written: any of its sectors may be old, zeros or new."""
    data, ends = written
    rng = random.Random(5)
    for _ in range(400):
        torn = bytearray(data)
        first_sector = -(-ends[-2] // 512)
        for sector in range(first_sector, len(data) // 512 + 1):
            if rng.random() < 0.5:
                place = slice(sector * 512, min((sector + 1) * 512, len(data)))
                torn[place] = bytes(place.stop - place.start)
        check_wal(bytes(torn))


def test_frames_of_an_older_round_behind_the_end_are_in_order(log):
    """After a checkpoint the log begins anew in the same file, over the old frames."""
    log.write()
    log.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    log.connection.execute("INSERT INTO t VALUES (1000, 'a')")
    log.connection.execute("INSERT INTO t VALUES (1001, 'b')")
    data = log.data()
    live = log.live_bytes()
    assert live < len(data)
    check_wal(bytes(data))
    for offset in range(live, len(data), 11):
        check_wal(flipped(data, offset, 3))
    with pytest.raises(WalDamaged):
        check_wal(flipped(data, HEADER_BYTES + 50, 3))


def test_frames_that_a_rolled_back_transaction_left_are_in_order(log):
    """They carry the salts of today, and may follow a commit that has been synced."""
    log.connection.execute("PRAGMA cache_size = 1")
    log.connection.execute("BEGIN")
    for row in range(300):
        log.connection.execute("INSERT INTO t VALUES (?, ?)", (row, bytes(400)))
    log.connection.execute("ROLLBACK")
    left = len(log.data())
    log.connection.execute("INSERT INTO t VALUES (1, 'a')")
    data = log.data()
    assert len(data) == left > 100 * FRAME_BYTES, "the transaction was meant to spill"
    check_wal(bytes(data))


def test_a_log_of_the_other_byte_order_is_read_as_sqlite_reads_it(written, tmp_path):
    """The magic number says in which order the checksums take their words."""
    data, _ = written
    other = bytearray(data)
    other[0:4] = struct.pack(">I", 0x377F0683)
    sums = checksum(other[:24], (0, 0))
    other[24:32] = struct.pack(">2I", *sums)
    for start in range(HEADER_BYTES, len(other), FRAME_BYTES):
        page = other[start + FRAME_HEADER_BYTES : start + FRAME_BYTES]
        sums = checksum(other[start : start + 8] + page, sums)
        other[start + 16 : start + 24] = struct.pack(">2I", *sums)
    check_wal(bytes(other))

    (tmp_path / "o.db").write_bytes((tmp_path / "w.db").read_bytes())
    (tmp_path / "o.db-wal").write_bytes(other)
    reader = sqlite3.connect(tmp_path / "o.db")
    rows = reader.execute("SELECT count(*) FROM t").fetchall()
    reader.close()
    assert rows == [(4,)]
    with pytest.raises(WalDamaged):
        check_wal(flipped(other, HEADER_BYTES + 50, 3))


def checksum(data, sums):
    first, second = sums
    words = struct.unpack(f">{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) % 2**32
        second = (second + odd + first) % 2**32
    return first, second
