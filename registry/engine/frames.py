"""What the node and its writer process say to each other: length-prefixed MessagePack.

The node sends lists of calls, each a list of operations, and an empty list to end. The writer
answers calls in the order in which they came.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

WireOperation = tuple[bytes, bytes | None, int | None]
"""Key, value (None: delete) and the expected revision (None: any)."""
Call = list[WireOperation]

_length: Final = struct.Struct("<I")
_result: Final = struct.Struct("<qq")


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The store is open, at this revision."""

    revision: int


class CannotOpen(msgspec.Struct, frozen=True, tag="cannot-open"):
    reason: str


class Applied(msgspec.Struct, frozen=True, tag="applied"):
    """So many calls are durable; `results` holds a pair of integers for each operation.

    A revision and the pair's create revision; or 0 and the revision that was in the way.
    """

    calls: int
    results: bytes


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """So many calls were not applied; `unknown` if they may be found applied after a restart.

    After `stopped` the writer is gone.
    """

    calls: int
    reason: str
    unknown: bool
    stopped: bool


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """All calls are answered, and the files are closed."""


Answer = Ready | CannotOpen | Applied | Rejected | Closed

_encoder: Final = msgspec.msgpack.Encoder()
_calls: Final = msgspec.msgpack.Decoder(list[Call])
_answer: Final = msgspec.msgpack.Decoder(Answer)


def encode(message: Answer | Sequence[Sequence[WireOperation]]) -> bytes:
    payload = _encoder.encode(message)
    return _length.pack(len(payload)) + payload


def decode_calls(payload: bytes) -> list[Call]:
    return _calls.decode(payload)


def decode_answer(payload: bytes) -> Answer:
    answer: Answer = _answer.decode(payload)
    return answer


def encode_results(integers: list[int]) -> bytes:
    return struct.pack(f"<{len(integers)}q", *integers)


def decode_results(results: bytes) -> Iterator[tuple[int, int]]:
    return _result.iter_unpack(results)


class Splitter:
    """Cuts a stream of bytes into payloads, whatever pieces it comes in."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = _length.size

    def feed(self, data: bytes) -> list[bytes]:
        buffer = self._buffer
        buffer += data
        payloads: list[bytes] = []
        # A payload of many reads is looked at once, when it is there, not at every read.
        if len(buffer) < self._needed:
            return payloads
        start = 0
        while len(buffer) - start >= _length.size:
            end = start + _length.size + _length.unpack_from(buffer, start)[0]
            if len(buffer) < end:
                self._needed = end - start
                break
            payloads.append(bytes(memoryview(buffer)[start + _length.size : end]))
            start = end
        else:
            self._needed = _length.size
        del buffer[:start]
        return payloads
