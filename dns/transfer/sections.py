"""Stepping through a message's records, bounded, without following any pointer."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from .. import wire

RECORDS_MAX: Final = 64
"""Of questions and records in a message that is read here: a query or the reply to a NOTIFY."""

_COUNTS: Final = struct.Struct("!4H")
_FIXED: Final = struct.Struct("!HHIH")


class Malformed(Exception):
    """No message, or none of its kind: FORMERR."""


class Placed(NamedTuple):
    """A record by its offsets: of its name, of what follows the name, of its data, of its end.

    `section` is 1 for answers, 2 for authority, 3 for additional records.
    """

    section: int
    at: int
    fixed_at: int
    data_at: int
    end: int
    rtype: int
    rclass: int
    ttl_s: int


def records_of(message: bytes) -> Iterator[Placed]:
    """Every record in order. Raises `Malformed`."""
    try:
        yield from _records(message)
    except (IndexError, struct.error) as error:
        raise Malformed from error


def _records(message: bytes) -> Iterator[Placed]:
    questions, *counts = _COUNTS.unpack_from(message, 4)
    if questions + sum(counts) > RECORDS_MAX:
        raise Malformed
    at = wire.HEADER_BYTES
    for _ in range(questions):
        at = _after_name(message, at) + 4
    for section, count in enumerate(counts, 1):
        for _ in range(count):
            fixed_at = _after_name(message, at)
            rtype, rclass, ttl_s, size = _FIXED.unpack_from(message, fixed_at)
            data_at = fixed_at + _FIXED.size
            if data_at + size > len(message):
                raise Malformed
            yield Placed(section, at, fixed_at, data_at, data_at + size, rtype, rclass, ttl_s)
            at = data_at + size


def _after_name(message: bytes, at: int) -> int:
    start = at
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        at += length + 1
        if length > wire.LABEL_BYTES_MAX or at - start >= wire.NAME_BYTES_MAX:
            raise Malformed
    return at + 1
