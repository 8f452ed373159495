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
    """The client's OPT record. `size_bytes` is already raised to the least that counts.

    `options` are the client's, as they came; `reply_options` are what goes into our own OPT.
    """

    size_bytes: int
    version: int
    do: bool
    options: bytes = b""
    reply_options: bytes = b""


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
    bare_bytes: int = 0
    """Where the length of the OPT's options stands, if it would be plain without these."""


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


def parse_cookie_query(data: bytes) -> Edns | None:
    """The OPT of a packet that asks for nothing but a cookie (RFC 7873 section 5.4): it has no
    question, and no other record."""
    counts = _HEADER.unpack_from(data)[1:]
    if counts[0] & (wire.FLAG_QR | wire.OPCODE_MASK) or counts[1:] != (0, 0, 0, 1):
        return None
    try:
        rtype, rclass, ttl, end = _record(data, wire.HEADER_BYTES)
        if rtype != wire.OPT or data[wire.HEADER_BYTES] != 0 or end != len(data):
            return None
        return _edns(data, wire.HEADER_BYTES + 11, rclass, ttl, end)
    except (_Bad, struct.error, IndexError):
        return None


def _body(data: bytes, flags: int, before: int, additionals: int) -> Query:
    labels, offset = _question_name(data)
    qtype, qclass = _TWO.unpack_from(data, offset)
    end_of_question = offset = offset + 4
    signed = False
    for _ in range(before):
        rtype, _, _, offset = _record(data, offset)
        if rtype in (wire.OPT, wire.TSIG):
            # Both belong into the additional section (RFC 6891 section 6.1.1, RFC 8945 5.1).
            raise _Bad
    edns: Edns | None = None
    bare_bytes = 0
    for _ in range(additionals):
        start = offset
        rtype, rclass, ttl, offset = _record(data, offset)
        signed = signed or rtype == wire.TSIG
        if rtype == wire.OPT:
            # RFC 6891 section 6.1.1: one OPT, owned by the root.
            if edns is not None or data[start] != 0:
                raise _Bad
            edns = _edns(data, start + 11, rclass, ttl, offset)
            bare_bytes = start + 9
    alone = (
        before == 0
        and additionals == (edns is not None)
        and offset == len(data)
        and not flags & ~(wire.FLAG_RD | wire.FLAG_AD | wire.FLAG_CD)
        and not (edns is not None and _folds(edns.size_bytes))
    )
    question = data[wire.HEADER_BYTES : end_of_question]
    has_options = edns is not None and bool(edns.options)
    if not (alone and has_options):
        bare_bytes = 0
    plain = alone and not has_options
    return Query(flags, question, labels, qtype, qclass, edns, plain, signed, bare_bytes)


def _edns(data: bytes, options: int, rclass: int, ttl: int, end: int) -> Edns:
    _check_options(data, options, end)
    size_bytes = max(rclass, wire.UDP_BYTES_PLAIN)
    return Edns(size_bytes, ttl >> 16 & 0xFF, bool(ttl & wire.EDNS_DO), data[options:end])


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
