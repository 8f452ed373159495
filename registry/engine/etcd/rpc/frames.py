"""Frames of HTTP/2 (RFC 9113, 4.1 and 6): the layout alone, not what they mean."""

import struct
from enum import IntEnum
from typing import Final, NamedTuple

FRAME_BYTES_MAX: Final = 16_384
"""What both sides take as long as nobody has allowed more (4.2), and we do not."""

_HEADER: Final = struct.Struct(">HBBBL")
HEADER_BYTES: Final = _HEADER.size
_SETTING: Final = struct.Struct(">HL")
_NUMBER: Final = struct.Struct(">L")
_GO_AWAY: Final = struct.Struct(">LL")

ACK: Final = 0x01
END_STREAM: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
PRIORITY: Final = 0x20
_PRIORITY_BYTES: Final = 5
_HIGHEST_BIT: Final = 0x7FFF_FFFF
"""It is reserved wherever a number of a stream, or a window, stands."""


class Kind(IntEnum):
    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4


class ErrorCode(IntEnum):
    REFUSED_STREAM = 7
    CANCEL = 8


class FrameError(Exception):
    """These are no frames of HTTP/2."""


class Frame(NamedTuple):
    """`kind` is not always one that is known."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def content(self) -> bytes:
        """Of DATA and HEADERS, without padding and priority."""
        payload = self.payload
        if not self.flags & (PADDED | PRIORITY):
            return payload
        start, stop = 0, len(payload)
        if self.flags & PADDED:
            start, stop = 1, stop - (payload[0] if payload else 1)
        if self.flags & PRIORITY and self.kind == Kind.HEADERS:
            start += _PRIORITY_BYTES
        if start > stop:
            raise FrameError("more padding than frame")
        return payload[start:stop]

    @property
    def error(self) -> int:
        """Of RST_STREAM."""
        return self._number

    @property
    def increment_bytes(self) -> int:
        """Of WINDOW_UPDATE."""
        return self._number & _HIGHEST_BIT

    @property
    def last_stream(self) -> int:
        """Of GOAWAY: what was begun after it has not been looked at."""
        if len(self.payload) < _GO_AWAY.size:
            raise FrameError("a GOAWAY without its numbers")
        last, _ = _GO_AWAY.unpack_from(self.payload)
        return int(last) & _HIGHEST_BIT

    @property
    def settings(self) -> dict[int, int]:
        if len(self.payload) % _SETTING.size:
            raise FrameError("half a setting")
        return dict(_SETTING.iter_unpack(self.payload))

    @property
    def _number(self) -> int:
        if len(self.payload) != _NUMBER.size:
            raise FrameError(f"{len(self.payload)} bytes where {_NUMBER.size} belong")
        [number] = _NUMBER.unpack(self.payload)
        return int(number)


def read_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """Those that are whole, and what is left. Raises `FrameError`."""
    frames = []
    at, size_bytes = 0, len(data)
    while at + HEADER_BYTES <= size_bytes:
        high, low, kind, flags, stream = _HEADER.unpack_from(data, at)
        length = high << 8 | low
        if length > FRAME_BYTES_MAX:
            raise FrameError(f"a frame of {length} bytes")
        stop = at + HEADER_BYTES + length
        if stop > size_bytes:
            break
        payload = data[at + HEADER_BYTES : stop]
        frames.append(Frame(kind, flags, stream & _HIGHEST_BIT, payload))
        at = stop
    return frames, data[at:]


def frame(kind: Kind, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    length = len(payload)
    return _HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def headers(stream: int, block: bytes) -> bytes:
    """`block` in as many frames as it takes; the stream goes on after it."""
    out, kind = [], Kind.HEADERS
    while len(block) > FRAME_BYTES_MAX:
        out.append(frame(kind, stream, block[:FRAME_BYTES_MAX]))
        block, kind = block[FRAME_BYTES_MAX:], Kind.CONTINUATION
    out.append(frame(kind, stream, block, END_HEADERS))
    return b"".join(out)


def settings(values: dict[Setting, int]) -> bytes:
    payload = b"".join(_SETTING.pack(key, value) for key, value in values.items())
    return frame(Kind.SETTINGS, 0, payload)


def reset(stream: int) -> bytes:
    return frame(Kind.RST_STREAM, stream, _NUMBER.pack(ErrorCode.CANCEL))


def window_update(stream: int, size_bytes: int) -> bytes:
    return frame(Kind.WINDOW_UPDATE, stream, _NUMBER.pack(size_bytes))
