"""Whether a write-ahead log holds synced commits that SQLite would drop without a word.

SQLite's recovery stops at the first frame whose checksum is wrong. That is right for the torn
end of a commit nobody was told about. It is wrong for a bit that flipped further back: every
acknowledged commit behind it would vanish. The two are told apart here: SQLite writes a frame
of the next transaction only after the previous one has been synced, so an intact frame behind
a commit proves that the commit was whole.

What cannot be told from a torn write is damage to the very last transaction in the log, and to
a few bytes (of its commit mark) in the last but one.

Format: https://sqlite.org/fileformat2.html section 4.
"""

import struct
from typing import Final, NamedTuple

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
SECTOR_BYTES: Final = 512
"""The least a disk writes whole."""

_MAGIC_LITTLE: Final = 0x377F0682
_MAGIC_BIG: Final = 0x377F0683
_VERSION: Final = 3007000
_header: Final = struct.Struct(">8I")
_frame: Final = struct.Struct(">6I")

Checksum = tuple[int, int]


class WalDamaged(Exception):
    """Commits that were synced cannot be read any more."""


class _Header(NamedTuple):
    page_bytes: int
    salts: tuple[int, int]
    big_endian: bool
    checksum: Checksum


class _Frame(NamedTuple):
    offset: int
    commits: bool
    current: bool
    """Written since the log was last begun anew, by its salts."""
    stored: Checksum
    content: memoryview

    @property
    def header_in_one_sector(self) -> bool:
        start = self.offset // SECTOR_BYTES
        return (self.offset + FRAME_HEADER_BYTES - 1) // SECTOR_BYTES == start


def check_wal(data: bytes) -> None:
    """Raises `WalDamaged` when SQLite would lose synced commits; a torn end is in order."""
    if len(data) < HEADER_BYTES + FRAME_HEADER_BYTES:
        return
    header = _read_header(data)
    frames = _frames(data, header)
    checksum = header.checksum
    for index, frame in enumerate(frames):
        computed = _checksum(frame.content, checksum, big_endian=header.big_endian)
        if not frame.current or computed != frame.stored:
            _check_rest(frames[index:], computed, header)
            return
        checksum = computed


def _read_header(data: bytes) -> _Header:
    # Synced before the first frame is written, and within one sector: it is never torn.
    magic, version, page_bytes, _, *salts_and_sum = _header.unpack_from(data)
    big_endian = magic == _MAGIC_BIG
    salt1, salt2, *stored = salts_and_sum
    computed = _checksum(memoryview(data)[:24], (0, 0), big_endian=big_endian)
    if magic not in (_MAGIC_LITTLE, _MAGIC_BIG) or version != _VERSION or computed != (*stored,):
        raise WalDamaged("its header is damaged")
    return _Header(page_bytes, (salt1, salt2), big_endian, computed)


def _frames(data: bytes, header: _Header) -> list[_Frame]:
    view = memoryview(data)
    step = FRAME_HEADER_BYTES + header.page_bytes
    frames = []
    for offset in range(HEADER_BYTES, len(data) - step + 1, step):
        _, size_after_commit, salt1, salt2, sum1, sum2 = _frame.unpack_from(data, offset)
        current = (salt1, salt2) == header.salts
        content = view[offset : offset + step]
        frames.append(_Frame(offset, size_after_commit != 0, current, (sum1, sum2), content))
    return frames


def _check_rest(frames: list[_Frame], computed: Checksum, header: _Header) -> None:
    """`frames[0]` is the first that SQLite does not accept; `computed` is its true checksum."""
    bad = frames[0]
    if computed == bad.stored:  # in its place and whole, so not of an older round
        raise WalDamaged(f"the salts of the frame at byte {bad.offset} are damaged")
    # Its own commit mark counts only if it cannot be a mix of an old header and a new one.
    before_commits = bad.commits and bad.current and bad.header_in_one_sector
    # Was only the stored checksum hit, the next frame follows the true one.
    seeds = {bad.stored, computed}
    for frame in frames[1:]:
        intact = frame.current and any(
            _checksum(frame.content, seed, big_endian=header.big_endian) == frame.stored
            for seed in seeds
        )
        if intact and before_commits:
            raise WalDamaged(
                f"the frame at byte {bad.offset} is damaged, and whole commits follow it"
            )
        before_commits = intact and frame.commits
        seeds = {frame.stored}


def _checksum(data: memoryview, seed: Checksum, *, big_endian: bool) -> Checksum:
    """Of a frame: its header's first 8 bytes and its page; of shorter data: all of it."""
    if len(data) > HEADER_BYTES:
        seed = _sum_words(data[:8], seed, big_endian=big_endian)
        data = data[FRAME_HEADER_BYTES:]
    return _sum_words(data, seed, big_endian=big_endian)


def _sum_words(data: memoryview, seed: Checksum, *, big_endian: bool) -> Checksum:
    words = struct.unpack(f"{'>' if big_endian else '<'}{len(data) // 4}I", data)
    sum1, sum2 = seed
    for first, second in zip(words[::2], words[1::2], strict=True):
        sum1 = (sum1 + first + sum2) & 0xFFFFFFFF
        sum2 = (sum2 + second + sum1) & 0xFFFFFFFF
    return sum1, sum2
