"""From an answer's sections to messages: header counts, rotations, sizes, truncation."""

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, cycle
from typing import Final, NamedTuple

from . import wire
from .answers import Answer
from .query import Edns, Query

ROTATIONS_MAX: Final = 16
"""Orders of one answer kept as bytes when its additional section points into the answer;
without one, every order is cut from the doubled records instead."""

_HEAD: Final = struct.Struct("!5H")
_POINTER_MAX: Final = 0x3FFF
"""Fourteen bits: no name can be pointed to beyond this offset (RFC 1035 section 4.1.4)."""
_OPT: Final = struct.Struct("!BHHBBHH")


class Compiled(NamedTuple):
    """Everything of a reply but its id and question.

    `head` are the header's last ten bytes; `next_tail()` is what follows the question, in
    another order every time and always of the same size. `held_bytes` is what it keeps.
    """

    head: bytes
    tail_bytes: int
    next_tail: Callable[[], bytes]
    rcode: int
    truncated: bool
    held_bytes: int


def compile_reply(
    answer: Answer, query: Query, limit_bytes: int, recursion_available: bool = False
) -> Compiled:
    """The reply to `query` in at most `limit_bytes`."""
    opt = opt_record(query.edns, answer.rcode)
    room = limit_bytes - wire.HEADER_BYTES - len(query.question) - len(opt)
    flags = wire.FLAG_QR | wire.FLAG_AA | (query.flags & wire.FLAG_RD) | answer.rcode
    if recursion_available:
        flags |= wire.FLAG_RA
    size = sum(map(len, answer.records)) + len(answer.authority)
    if size > room:
        flags |= wire.FLAG_TC
        answer = _cut(answer, room if limit_bytes == wire.TCP_BYTES_MAX else 0)
        size = sum(map(len, answer.records))
    answer = _shuffled(answer)
    end = answer.authority + opt
    glue_bytes = sum(len(wire.QNAME_POINTER) + len(rr) for several in answer.glue for rr in several)
    first = wire.HEADER_BYTES + len(query.question)
    additional = 0
    copies = 1
    if 0 < glue_bytes <= room - size and first + size <= _POINTER_MAX:
        # Dropped without TC when it does not fit: RFC 2181 section 9.
        additional = sum(map(len, answer.glue))
        tails = [*_glued_orders(answer, first, end)]
        next_tail, copies = cycle(tails).__next__, len(tails)
        size += glue_bytes
    elif answer.rotates and len(answer.records) > 1:
        next_tail, copies = _orders(answer.records, end).__next__, 2
    else:
        next_tail = cycle((b"".join(answer.records) + end,)).__next__
    head = _HEAD.pack(flags, 1, len(answer.records), bool(answer.authority), additional + bool(opt))
    size += len(opt)
    truncated = bool(flags & wire.FLAG_TC)
    return Compiled(head, size, next_tail, answer.rcode, truncated, size * copies)


def opt_record(edns: Edns | None, rcode: int) -> bytes:
    """Ours, when the client sent one: our size, version 0, DO as it was (RFC 3225)."""
    if edns is None:
        return b""
    flags = wire.EDNS_DO if edns.do else 0
    return _OPT.pack(0, wire.OPT, wire.UDP_BYTES_MAX, rcode >> 4, 0, flags, 0)


def bare_reply(packet_id: bytes, flags: int, rcode: int) -> bytes:
    """A header alone: id and opcode as asked, nothing else."""
    flags = wire.FLAG_QR | (flags & wire.OPCODE_MASK) | rcode
    return packet_id + _HEAD.pack(flags, 0, 0, 0, 0)


def empty_reply(packet_id: bytes, query: Query, rcode: int, more_flags: int = 0) -> bytes:
    """The question and an OPT where there was one, and no records: refusals and failures."""
    opt = opt_record(query.edns, rcode)
    flags = wire.FLAG_QR | more_flags | (query.flags & wire.FLAG_RD) | (rcode & 0xF)
    return packet_id + _HEAD.pack(flags, 1, 0, 0, bool(opt)) + query.question + opt


def _cut(answer: Answer, room: int) -> Answer:
    """No records over UDP (the safest and smallest: clients ask again over TCP), else a part."""
    kept = []
    for record in answer.records:
        room -= len(record)
        if room < 0:
            break
        kept.append(record)
    return answer._replace(records=kept, glue=(), authority=b"")


def _shuffled(answer: Answer) -> Answer:
    """The first turn must not always be that of whoever registered first."""
    if not answer.rotates or len(answer.records) < 2:
        return answer
    order = random.sample(range(len(answer.records)), len(answer.records))
    glue = [answer.glue[at] for at in order] if answer.glue else ()
    return answer._replace(records=[answer.records[at] for at in order], glue=glue)


def _orders(records: Sequence[bytes], end: bytes) -> Iterator[bytes]:
    """For ever the next rotation of `records`, each a slice of the records written twice."""
    twice = b"".join((*records, *records))
    half = len(twice) // 2
    starts = list(accumulate(map(len, records[:-1]), initial=0))
    while True:
        for start in starts:
            yield twice[start : start + half] + end


def _glued_orders(answer: Answer, first: int, end: bytes) -> Iterator[bytes]:
    """Rotations whose additional records point at names inside the answer section."""
    count = len(answer.records)
    turns = min(count, ROTATIONS_MAX) if answer.rotates else 1
    for turn in range(turns):
        start = turn * count // turns
        order = [*range(start, count), *range(start)]
        at, parts, extra = first, [], []
        for record in order:
            owner = (0xC000 | (at + answer.glue_at)).to_bytes(2, "big")
            extra += [owner + rr for rr in answer.glue[record]]
            parts.append(answer.records[record])
            at += len(answer.records[record])
        yield b"".join((*parts, answer.authority, *extra, end[len(answer.authority) :]))
