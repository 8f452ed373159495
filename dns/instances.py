"""The records of a service's instances: A, AAAA, SRV and TXT, owned by the question's name.

A, AAAA and SRV are written here by hand, because a change to a service compiles them again; TXT
goes through the codec. Equal records are given once (RFC 2181 section 5).
"""

import struct
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from . import codec, wire
from .names import Labels, NamedPort
from .record import HOST, IPV6, Record, ipv4_of, is_host, text_strings, unpack_record

_SRV_FIXED: Final = struct.Struct("!HHIHHHH")
SRV_TARGET_AT: Final = 18
"""From the start of a SRV record (pointer, type, class, TTL, length, three numbers)."""
_PREFERENCE: Final = (wire.A, wire.AAAA, wire.SRV, wire.TXT)
"""Which RRset an ANY query gets: one is enough (RFC 8482 section 4.1)."""


class Found(NamedTuple):
    """What stands at a name. `exists` False is NXDOMAIN, no records is NODATA.

    `glue[i]` are the additional records, without owners, for the name that stands
    `glue_at` bytes into `records[i]`. `alias` is the target of a CNAME.
    """

    exists: bool
    records: Sequence[bytes] = ()
    glue: Sequence[tuple[bytes, ...]] = ()
    glue_at: int = 0
    alias: Labels | None = None


ABSENT: Final = Found(False)
EMPTY: Final = Found(True)


def record_head(rtype: int, ttl_s: int, size: int) -> bytes:
    """What comes before the data, of `size` bytes, in a record owned by the question's name."""
    return wire.QNAME_POINTER + struct.pack("!HHIH", rtype, wire.CLASS_IN, ttl_s, size)


READ_MAX: Final = 4096
"""Instances read for one answer. Every record of an answer comes from one of them, and more do
not fit into any message; what a service of a million lacks (meta, say) must not be searched in
all of them for one query."""


class InstanceRecords:
    """Compiles records of one TTL. `enough` is how many of them certainly do not fit."""

    def __init__(self, ttl_s: int) -> None:
        self._ttl_s = ttl_s
        self._a = record_head(wire.A, ttl_s, 4)
        self._aaaa = record_head(wire.AAAA, ttl_s, 16)

    def address(self, packed: bytes) -> bytes:
        return (self._a if len(packed) == 4 else self._aaaa) + packed

    def glue(self, packed: bytes) -> bytes:
        """An address record without its owner."""
        return self.address(packed)[len(wire.QNAME_POINTER) :]

    def of_type(self, shown: Collection[bytes], zone: Labels, qtype: int, enough: int) -> Found:
        """The records of `qtype` of packed instances, all of them handed out."""
        if len(shown) > READ_MAX:
            shown = list(islice(shown, READ_MAX))
        records: Sequence[bytes] = ()
        if qtype == wire.ANY:
            every = (self.of_type(shown, zone, one, enough) for one in _PREFERENCE)
            return next((found for found in every if found.records or found.alias), EMPTY)
        if qtype == wire.A:
            records = self._ipv4(shown, enough)
        elif qtype == wire.AAAA:
            records = self._ipv6(shown, enough)
        elif qtype == wire.TXT:
            records = self._txt(shown, enough)
        elif qtype == wire.SRV:
            ports = ((one, one.port) for one in map(unpack_record, shown))
            found = self.srv(ports, zone, enough)
            if found.records:
                return found
        if not records and len(shown) == 1 and (target := _host_of(*shown)):
            return Found(True, alias=target)
        return Found(True, records)

    def srv(self, located: Iterable[tuple[Record, int]], zone: Labels, enough: int) -> Found:
        """SRV of (instance, port): those without a port or an address are left out."""
        suffix = wire.name_bytes((b"addr", *zone))
        found: dict[bytes, tuple[bytes, ...]] = {}
        spelt_targets: set[bytes] = set()
        for one, port in islice(located, READ_MAX):
            if not port or not one.kind:
                continue
            glue: tuple[bytes, ...] = ()
            target = one.address
            if one.kind != HOST:
                spelt = one.address.hex().encode("ascii")
                target = bytes((len(spelt),)) + spelt + suffix
                if target not in spelt_targets:
                    spelt_targets.add(target)
                    glue = (self.glue(one.address),)
            found.setdefault(self._srv_record(one, port, target), glue)
            if len(found) >= enough:
                break
        return Found(True, list(found), list(found.values()), SRV_TARGET_AT) if found else EMPTY

    def _srv_record(self, one: Record, port: int, target: bytes) -> bytes:
        size = 6 + len(target)
        numbers = (wire.SRV, wire.CLASS_IN, self._ttl_s, size, one.priority, one.weight, port)
        return wire.QNAME_POINTER + _SRV_FIXED.pack(*numbers) + target

    def _ipv4(self, shown: Collection[bytes], enough: int) -> list[bytes]:
        head = self._a
        found: dict[bytes, None] = {}
        for record in shown:
            address = ipv4_of(record)
            if address is not None:
                found[head + address] = None
                if len(found) >= enough:
                    break
        return list(found)

    def _ipv6(self, shown: Collection[bytes], enough: int) -> list[bytes]:
        found: dict[bytes, None] = {}
        for one in map(unpack_record, shown):
            if one.kind == IPV6:
                found[self._aaaa + one.address] = None
                if len(found) >= enough:
                    break
        return list(found)

    def _txt(self, shown: Collection[bytes], enough: int) -> list[bytes]:
        texts: dict[bytes, None] = {}
        for record in shown:
            texts.update(dict.fromkeys(unpack_record(record).extras.text))
            if len(texts) >= enough:
                break
        return [codec.txt_record(text_strings(text), self._ttl_s) for text in texts]


def named_port(record: Record, asked: NamedPort) -> int:
    """The number of the named port; 0 when it is none of this instance's."""
    for name, protocol, number in record.extras.ports:
        if name == asked.port and protocol == asked.protocol:
            return number
    return 0


def _host_of(record: bytes) -> Labels | None:
    if not is_host(record):
        return None
    return wire.labels_in(unpack_record(record).address)
