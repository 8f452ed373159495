"""From an answer's sections to messages: header counts, rotations, sizes, truncation."""

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, cycle
from typing import Final, NamedTuple

from . import wire
from .answers import Answer
from .cache import Ready
from .counters import kind_of
from .query import Edns, Query

ROTATIONS_MAX: Final = 16
"""Orders of one answer kept as bytes when its additional section points into the answer;
without one, every order is cut from the doubled records instead."""

ORDERS_HELD_MAX: Final = 8
"""Up to here every order is held as bytes, some 1 KB of addresses: taking the next one is then
a tenth of the cost of cutting it, and half of the cost of making what cuts."""

HEAD: Final = struct.Struct("!5H")
"""A reply's header without its id: flags, and how many records each section has."""
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
    flags = reply_flags(query, answer.rcode, recursion_available)
    records, glue, authority = *_turned(answer), answer.authority
    size = sum(map(len, records)) + len(authority)
    if size > room:
        # Nothing over UDP (the safest and smallest: clients ask again over TCP), else a part.
        flags |= wire.FLAG_TC
        records = _fitting(records, room) if limit_bytes == wire.TCP_BYTES_MAX else ()
        glue, authority = (), b""
        size = sum(map(len, records))
    glue_bytes = sum([len(wire.QNAME_POINTER) + len(rr) for several in glue for rr in several])
    first = wire.HEADER_BYTES + len(query.question)
    additional = 0
    copies = 1
    if 0 < glue_bytes <= room - size and first + size <= _POINTER_MAX:
        # Dropped without TC when it does not fit: RFC 2181 section 9.
        additional = sum(map(len, glue))
        tails = [*_glued_orders(records, glue, answer.glue_at, first, opt)]
        next_tail, copies = cycle(tails).__next__, len(tails)
        size += glue_bytes
    elif answer.rotates and 1 < len(records) <= ORDERS_HELD_MAX:
        next_tail, copies = cycle(_orders(records, opt)).__next__, len(records)
    elif answer.rotates and len(records) > 1:
        next_tail, copies = _endless_orders(records, opt).__next__, 2
    else:
        next_tail = cycle((b"".join((*records, authority, opt)),)).__next__
    head = HEAD.pack(flags, 1, len(records), bool(authority), additional + bool(opt))
    size += len(opt)
    truncated = bool(flags & wire.FLAG_TC)
    return Compiled(head, size, next_tail, answer.rcode, truncated, size * copies)


def ready_of(query: Query, compiled: Compiled) -> Ready:
    """For `query` and the packets that ask the same."""
    question_end = wire.HEADER_BYTES + len(query.question)
    total = question_end + compiled.tail_bytes
    kind = kind_of(query.qtype, compiled.rcode, compiled.truncated)
    return compiled.head, question_end, total, compiled.next_tail, kind


def reply_flags(query: Query, rcode: int, recursion_available: bool) -> int:
    """Of an answer with authority."""
    flags = wire.FLAG_QR | wire.FLAG_AA | (query.flags & wire.FLAG_RD) | rcode
    return flags | wire.FLAG_RA if recursion_available else flags


def opt_record(edns: Edns | None, rcode: int) -> bytes:
    """Ours, when the client sent one: our size, version 0, DO as it was (RFC 3225)."""
    if edns is None:
        return b""
    flags = wire.EDNS_DO if edns.do else 0
    options = edns.reply_options
    fixed = _OPT.pack(0, wire.OPT, wire.UDP_BYTES_MAX, rcode >> 4, 0, flags, len(options))
    return fixed + options


def with_options(reply: bytes, options: bytes) -> bytes:
    """`reply`, whose bare OPT stands at its end, with options in that."""
    return b"".join((reply[:-2], len(options).to_bytes(2, "big"), options))


def cookie_reply(packet_id: bytes, flags: int, edns: Edns, rcode: int) -> bytes:
    """To a packet without a question: a header and an OPT."""
    flags = wire.FLAG_QR | (flags & wire.FLAG_RD) | (rcode & 0xF)
    return packet_id + HEAD.pack(flags, 0, 0, 0, 1) + opt_record(edns, rcode)


def bare_reply(packet_id: bytes, flags: int, rcode: int) -> bytes:
    """A header alone: id and opcode as asked, nothing else."""
    flags = wire.FLAG_QR | (flags & wire.OPCODE_MASK) | rcode
    return packet_id + HEAD.pack(flags, 0, 0, 0, 0)


def empty_reply(packet_id: bytes, query: Query, rcode: int, more_flags: int = 0) -> bytes:
    """The question and an OPT where there was one, and no records: refusals and failures."""
    opt = opt_record(query.edns, rcode)
    flags = wire.FLAG_QR | more_flags | (query.flags & wire.FLAG_RD) | (rcode & 0xF)
    return packet_id + HEAD.pack(flags, 1, 0, 0, bool(opt)) + query.question + opt


def _turned(answer: Answer) -> tuple[Sequence[bytes], Sequence[tuple[bytes, ...]]]:
    """Records and glue from a random start: it must not always be who registered first."""
    records, glue = answer.records, answer.glue
    if not answer.rotates or len(records) < 2:
        return records, glue
    start = int(random.random() * len(records))
    return [*records[start:], *records[:start]], [*glue[start:], *glue[:start]]


def _fitting(records: Sequence[bytes], room: int) -> Sequence[bytes]:
    ends = accumulate(map(len, records))
    return records[: sum(end <= room for end in ends)]


def _orders(records: Sequence[bytes], end: bytes) -> list[bytes]:
    """Each rotation of `records`, followed by `end`."""
    twice = b"".join((*records, *records))
    half = len(twice) // 2
    starts = accumulate(map(len, records[:-1]), initial=0)
    return [twice[start : start + half] + end for start in starts]


def _endless_orders(records: Sequence[bytes], end: bytes) -> Iterator[bytes]:
    """The same for ever, holding no more than the records written twice."""
    twice = b"".join((*records, *records))
    half = len(twice) // 2
    starts = [*accumulate(map(len, records[:-1]), initial=0)]
    while True:
        for start in starts:
            yield twice[start : start + half] + end


def _glued_orders(
    records: Sequence[bytes],
    glue: Sequence[tuple[bytes, ...]],
    glue_at: int,
    first: int,
    end: bytes,
) -> Iterator[bytes]:
    """Rotations whose additional records point at names inside the answer section."""
    count = len(records)
    turns = min(count, ROTATIONS_MAX)
    for turn in range(turns):
        start = turn * count // turns
        at = 0xC000 | (first + glue_at)
        parts: list[bytes] = []
        extra: list[bytes] = []
        for record in (*range(start, count), *range(start)):
            for rr in glue[record]:
                extra += (at.to_bytes(2, "big"), rr)
            parts.append(records[record])
            at += len(records[record])
        yield b"".join((*parts, *extra, end))
