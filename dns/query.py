"""Reading a query: any bytes in, a typed result out, in one bounded pass.

Written by hand because a general parser follows compression pointers and builds every record,
which is what makes hostile packets expensive. A query needs none of it: its one name stands
first, so there is nothing that a pointer could rightly point to.
"""

import struct
from typing import Final, NamedTuple

from . import wire

EXTRA_RECORDS_MAX: Final = 8
"""Records a query may carry besides its question: an OPT, a TSIG, an IXFR's SOA. More than a
handful is no resolver's query, and every record costs time."""

_HEADER: Final = struct.Struct("!6H")
_FIXED: Final = struct.Struct("!HHIH")
_TWO: Final = struct.Struct("!HH")


class Edns(NamedTuple):
    """The client's OPT record. `size_bytes` is already raised to the least that counts."""

    size_bytes: int
    version: int
    do: bool


class Query(NamedTuple):
    """A well-formed question. `question` is as asked; `labels` are in lower case.

    `plain` says that the packet holds nothing else: question, and at most an OPT without
    options at its end. Only such packets may be remembered whole.
    """

    flags: int
    question: bytes
    labels: tuple[bytes, ...]
    qtype: int
    qclass: int
    edns: Edns | None
    plain: bool
    signed: bool = False
    """Whether there is a TSIG somewhere in it."""


class Rejected(NamedTuple):
    """Something to be answered with a bare header; `flags` are the query's."""

    flags: int
    rcode: int


class _Bad(Exception):
    """The packet is not what its header promises."""


def parse_query(data: bytes) -> Query | Rejected | None:
    """None means silence: a response (answering one makes loops) or less than a header."""
    if len(data) < wire.HEADER_BYTES:
        return None
    _, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    if flags & wire.FLAG_QR:
        return None
    if flags & wire.OPCODE_MASK:
        return Rejected(flags, wire.NOTIMP)
    if questions != 1 or answers + authorities + additionals > EXTRA_RECORDS_MAX:
        return Rejected(flags, wire.FORMERR)
    try:
        return _body(data, flags, answers + authorities, additionals)
    except (_Bad, struct.error, IndexError):
        return Rejected(flags, wire.FORMERR)


def _body(data: bytes, flags: int, before: int, additionals: int) -> Query:
    labels, offset = _question_name(data)
    qtype, qclass = _TWO.unpack_from(data, offset)
    end_of_question = offset = offset + 4
    signed = False
    for _ in range(before):
        rtype, _, _, offset = _record(data, offset)
        if rtype == wire.OPT:
            raise _Bad
    edns: Edns | None = None
    bare_opt = True
    for _ in range(additionals):
        start = offset
        rtype, rclass, ttl, offset = _record(data, offset)
        signed = signed or rtype == wire.TSIG
        if rtype == wire.OPT:
            # RFC 6891 section 6.1.1: one OPT, owned by the root.
            if edns is not None or data[start] != 0:
                raise _Bad
            _check_options(data, start + 11, offset)
            bare_opt = offset == start + 11
            edns = Edns(
                max(rclass, wire.UDP_BYTES_PLAIN), ttl >> 16 & 0xFF, bool(ttl & wire.EDNS_DO)
            )
    plain = (
        bare_opt
        and before == 0
        and additionals == (edns is not None)
        and offset == len(data)
        and not flags & ~(wire.FLAG_RD | wire.FLAG_AD | wire.FLAG_CD)
        and not (edns is not None and _folds(edns.size_bytes))
    )
    question = data[wire.HEADER_BYTES : end_of_question]
    return Query(flags, question, labels, qtype, qclass, edns, plain, signed)


def _folds(size_bytes: int) -> bool:
    """Whether another size looks the same once the packet is in lower case, and limits the
    reply differently: such a packet must not share an entry of the cache with its double."""
    return size_bytes < wire.UDP_BYTES_MAX and bytes((size_bytes & 0xFF,)).isalpha()


def _question_name(data: bytes) -> tuple[tuple[bytes, ...], int]:
    labels = []
    offset = wire.HEADER_BYTES
    while length := data[offset]:
        if length > wire.LABEL_BYTES_MAX:
            raise _Bad
        end = offset + 1 + length
        labels.append(data[offset + 1 : end].lower())
        offset = end
        if offset - wire.HEADER_BYTES >= wire.NAME_BYTES_MAX:
            raise _Bad
    return tuple(labels), offset + 1


def _record(data: bytes, offset: int) -> tuple[int, int, int, int]:
    """Type, class, TTL and the end of the record at `offset`; its name is only stepped over."""
    start = offset
    while length := data[offset]:
        if length >= 0xC0:
            offset += 1
            break
        if length > wire.LABEL_BYTES_MAX or offset - start > wire.NAME_BYTES_MAX:
            raise _Bad
        offset += length + 1
    rtype, rclass, ttl, size = _FIXED.unpack_from(data, offset + 1)
    end = offset + 11 + size
    if end > len(data):
        raise _Bad
    return rtype, rclass, ttl, end


def _check_options(data: bytes, offset: int, end: int) -> None:
    while offset < end:
        _, size = _TWO.unpack_from(data, offset)
        offset += 4 + size
    if offset != end:
        raise _Bad
