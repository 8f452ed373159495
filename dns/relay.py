"""What a forwarder says and understands: bytes in, bytes out, no sockets.

The upstream's reply is not parsed but walked: one bounded pass finds the TTLs and the OPT.
Everything after the question is then handed on as it came, since compression pointers keep
their meaning as long as the question has the same length.
"""

import struct
from typing import Final, NamedTuple

from . import wire
from .query import Query
from .reply import opt_record

TTL_S_MAX: Final = 3600
"""However long an upstream lets us remember something, a mistake there ends within the hour."""
_TTL_SIGN: Final = 0x80000000

_HEADER: Final = struct.Struct("!6H")
_FIXED: Final = struct.Struct("!HHIH")
_LONG: Final = struct.Struct("!I")


class Relayed(NamedTuple):
    """A reply without its header and question. `ttl_s` 0 must not be remembered.

    `ttls` are the places of the TTLs in `body`.
    """

    rcode: int
    counts: tuple[int, int, int]
    body: bytes
    ttls: tuple[int, ...]
    ttl_s: int


class Truncated(NamedTuple):
    """The upstream's answer did not fit: ask it again over TCP."""


class _Bad(Exception):
    """Not what a resolver would send."""


class _Walked(NamedTuple):
    counts: tuple[int, int, int]
    end: int
    ttls: list[int]
    least_s: int | None
    soa_s: int | None
    extended_rcode: int


def upstream_query(packet_id: bytes, query: Query) -> bytes:
    """Our own question upstream, with our own EDNS; DO and CD are the client's."""
    flags = wire.FLAG_RD | (query.flags & wire.FLAG_CD)
    do = wire.EDNS_DO if query.edns and query.edns.do else 0
    opt = struct.pack("!BHHBBHH", 0, wire.OPT, wire.UDP_BYTES_MAX, 0, 0, do, 0)
    return packet_id + struct.pack("!5H", flags, 1, 0, 0, 1) + query.question + opt


def read_upstream(
    data: bytes, packet_id: bytes, question: bytes, *, tcp: bool = False
) -> Relayed | Truncated | None:
    """None for whatever is not a sound reply to this very question. Never raises."""
    start = wire.HEADER_BYTES + len(question)
    if len(data) < start or data[:2] != packet_id:
        return None
    _, flags, questions, *counts = _HEADER.unpack_from(data)
    if not flags & wire.FLAG_QR or flags & wire.OPCODE_MASK or questions != 1:
        return None
    if data[wire.HEADER_BYTES : start].lower() != question.lower():
        return None
    if flags & wire.FLAG_TC and not tcp:
        return Truncated()
    try:
        walked = _walk(data, start, counts)
    except (_Bad, struct.error, IndexError):
        return None
    rcode = flags & 0xF
    if walked.extended_rcode or flags & wire.FLAG_TC or rcode not in wire.RCODE_NAMES:
        # Cut even over TCP, or an rcode that needs more bits than a client may understand.
        return Relayed(wire.SERVFAIL, (0, 0, 0), b"", (), 0)
    return Relayed(
        rcode, walked.counts, data[start : walked.end], tuple(walked.ttls), _lifetime(rcode, walked)
    )


def client_reply(
    relayed: Relayed, packet_id: bytes, query: Query, limit_bytes: int, age_s: int = 0
) -> bytes:
    """The reply to one client, TTLs counted down by `age_s`."""
    opt = opt_record(query.edns, relayed.rcode)
    flags = wire.FLAG_QR | wire.FLAG_RA | (query.flags & wire.FLAG_RD) | relayed.rcode
    body = _aged(relayed, age_s) if age_s else relayed.body
    counts = relayed.counts
    if wire.HEADER_BYTES + len(query.question) + len(body) + len(opt) > limit_bytes:
        flags, body, counts = flags | wire.FLAG_TC, b"", (0, 0, 0)
    answers, authorities, additionals = counts
    head = struct.pack("!5H", flags, 1, answers, authorities, additionals + bool(opt))
    return b"".join((packet_id, head, query.question, body, opt))


def _aged(relayed: Relayed, age_s: int) -> bytes:
    body = bytearray(relayed.body)
    for at in relayed.ttls:
        (ttl_s,) = _LONG.unpack_from(body, at)
        _LONG.pack_into(body, at, max(0, (0 if ttl_s & _TTL_SIGN else ttl_s) - age_s))
    return bytes(body)


def _lifetime(rcode: int, walked: _Walked) -> int:
    if rcode not in (wire.NOERROR, wire.NXDOMAIN) or walked.least_s is None:
        return 0
    if rcode == wire.NXDOMAIN or not walked.counts[0]:
        # RFC 2308 section 5: without a SOA nobody said how long there is no such thing.
        return min(walked.soa_s or 0, TTL_S_MAX)
    return min(walked.least_s, TTL_S_MAX)


def _walk(data: bytes, start: int, counts: list[int]) -> _Walked:
    """Step over every record once; what follows an OPT is dropped along with it."""
    offset = start
    ttls: list[int] = []
    least_s: int | None = None
    soa_s: int | None = None
    kept = [0, 0, 0]
    for section, count in enumerate(counts):
        for _ in range(count):
            fixed = name_end(data, offset)
            rtype, _, ttl_s, size = _FIXED.unpack_from(data, fixed)
            end = fixed + _FIXED.size + size
            if end > len(data):
                raise _Bad
            if rtype == wire.OPT:
                if section != 2:
                    raise _Bad
                return _Walked(_three(kept), offset, ttls, least_s, soa_s, ttl_s >> 24)
            ttl_s = 0 if ttl_s & _TTL_SIGN else ttl_s  # RFC 2181 section 8
            ttls.append(fixed + 4 - start)
            least_s = ttl_s if least_s is None else min(least_s, ttl_s)
            if section == 1 and rtype == wire.SOA and size >= 4:
                soa_s = min(ttl_s, *_LONG.unpack_from(data, end - 4))
            kept[section] += 1
            offset = end
    return _Walked(_three(kept), offset, ttls, least_s, soa_s, 0)


def _three(counts: list[int]) -> tuple[int, int, int]:
    answers, authorities, additionals = counts
    return answers, authorities, additionals


def name_end(data: bytes, offset: int) -> int:
    """Where the name at `offset` ends; its labels are only stepped over."""
    start = offset
    while length := data[offset]:
        if length >= 0xC0:
            return offset + 2
        if length > wire.LABEL_BYTES_MAX or offset - start > wire.NAME_BYTES_MAX:
            raise _Bad
        offset += length + 1
    return offset + 1
