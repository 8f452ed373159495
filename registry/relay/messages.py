"""What nodes say to each other: length-prefixed MessagePack, a question and an answer in turn."""

import asyncio
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Ten thousand renewals of names of full length take 2 MB; more is no message of ours."""
HELLO_BYTES_MAX: Final = 1024
"""Before a stranger has said who it is, it costs us no more than this."""
RENEWALS_MAX: Final = 10_000
"""In one message: some 10 ms of the keeper's event loop."""

_length: Final = struct.Struct("!I")


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first thing a node says. `cluster` is the same on all nodes of a cluster."""

    cluster: str
    node: str


class Renew(msgspec.Struct, frozen=True, tag="renew"):
    """Engine keys of leases to renew; `index` is what the sender showed when it was asked."""

    index: int
    keys: list[bytes]


class Renewed(msgspec.Struct, frozen=True, tag="renewed"):
    """`unknown` are positions in the question; all others have been renewed."""

    unknown: list[int]


class NotKeeper(msgspec.Struct, frozen=True, tag="not-keeper"):
    """Nothing was renewed: ask whoever keeps the leases."""


Question = Hello | Renew
Answer = Renewed | NotKeeper

_encoder: Final = msgspec.msgpack.Encoder()
_questions: Final = msgspec.msgpack.Decoder(Question)
_answers: Final = msgspec.msgpack.Decoder(Answer)


class Garbage(Exception):
    """The other end does not speak this protocol, or says more than it may."""


def encode(message: Question | Answer) -> bytes:
    payload = _encoder.encode(message)
    return _length.pack(len(payload)) + payload


def decode_question(payload: bytes) -> Question:
    """Raises `Garbage`."""
    with _garbage_named():
        question: Question = _questions.decode(payload)
    return question


def decode_answer(payload: bytes) -> Answer:
    """Raises `Garbage`."""
    with _garbage_named():
        answer: Answer = _answers.decode(payload)
    return answer


@contextmanager
def _garbage_named() -> Iterator[None]:
    try:
        yield
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Garbage(str(error)) from error


async def read_payload(reader: asyncio.StreamReader, bytes_max: int = MESSAGE_BYTES_MAX) -> bytes:
    """Raises `Garbage` for what is too long, `IncompleteReadError` at the end."""
    (size,) = _length.unpack(await reader.readexactly(_length.size))
    if size > bytes_max:
        raise Garbage(f"a message of {size} bytes, {bytes_max} are allowed")
    return await reader.readexactly(size)
