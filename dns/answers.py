"""From a name and the copy of the board to records: bytes that follow the question.

Every owner name is a pointer to the question, so answers echo the letter case as asked. A, AAAA
and SRV are written here by hand, because a change to a service compiles them again; the rest
goes through the codec.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from . import codec, wire
from .names import (
    DEFAULT,
    AboveNamespace,
    AboveService,
    Address,
    Apex,
    Asked,
    Labels,
    NamedPort,
    NameServer,
    Nothing,
    OneInstance,
    ServiceInstances,
    ServiceLocation,
    Zones,
    read_name,
)
from .record import HOST, IPV4, IPV6, Extras, Record, text_strings, unpack_record
from .store import Store

NEGATIVE_TTL_S: Final = 5
"""How long "no such thing" may be remembered (RFC 2308): a service that has just been
registered must not stay invisible behind resolvers for longer than its records would live."""
SOA_REFRESH_S: Final = 3600
SOA_RETRY_S: Final = 600
SOA_EXPIRE_S: Final = 86_400
CNAME_CHAIN_MAX: Final = 8
"""Aliases followed inside our zones; registrations can point at each other in a circle."""
INSTANCES_READ_MAX: Final = 4096
"""More records than a TCP message holds (65,535 / 16). A service may have a million instances,
and no answer may take as long as reading them all."""

_SERIAL_AT: Final = -20
"""Where the serial stands in a SOA record, counted from its end: five 32-bit numbers."""
_SRV_FIXED: Final = struct.Struct("!HHIHHHH")
_SRV_TARGET_AT: Final = 18
"""From the start of a SRV record (pointer, type, class, TTL, length, three numbers)."""
_NS_TARGET_AT: Final = 12
_PREFERENCE: Final = (wire.A, wire.AAAA, wire.SRV, wire.TXT)
"""Which RRset an ANY query gets: one is enough (RFC 8482 section 4.1)."""


class Answer(NamedTuple):
    """Sections of a reply, without the header.

    `glue[i]` are the additional records, without owners, for the name that stands
    `glue_at` bytes into `records[i]`. `services` are the keys of what it was made from;
    without any it must not be remembered, because nothing would say that it is out of date.
    """

    rcode: int
    records: Sequence[bytes] = ()
    glue: Sequence[tuple[bytes, ...]] = ()
    glue_at: int = 0
    authority: bytes = b""
    services: tuple[bytes, ...] = ()
    rotates: bool = False


class _Found(NamedTuple):
    """What stands at a name. `exists` False is NXDOMAIN, no records is NODATA."""

    exists: bool
    records: Sequence[bytes] = ()
    glue: Sequence[tuple[bytes, ...]] = ()
    glue_at: int = 0
    alias: Labels | None = None


_ABSENT: Final = _Found(False)
_EMPTY: Final = _Found(True)


class Answers:
    """Compiles answers for one configuration; stateless but for templates of the zones."""

    def __init__(self, zones: Zones, ttl_s: int, server_addresses: Sequence[bytes]) -> None:
        self.index = 0
        """The registry's index that the copy reflects: the serial of the zones."""
        self._zones = zones
        self._ttl_s = ttl_s
        self._negative_ttl_s = min(ttl_s, NEGATIVE_TTL_S)
        self._server_addresses = server_addresses
        self._negative_soa: dict[tuple[Labels, int], bytes] = {}
        self._a = _address_head(wire.A, ttl_s, 4)
        self._aaaa = _address_head(wire.AAAA, ttl_s, 16)

    def answer(self, store: Store, labels: Labels, qtype: int) -> Answer | None:
        """The answer to a question of class IN; None for a name outside the zones."""
        cut = self._zones.cut(labels)
        if cut is None:
            return None
        below, zone = cut
        asked = read_name(below)
        offset = wire.HEADER_BYTES + sum(len(label) + 1 for label in below)
        found = self._find(store, asked, zone, offset, qtype)
        services = _depends(asked)
        if found.alias is not None:
            return self._follow(store, found, services, qtype)
        if found.records:
            return Answer(
                wire.NOERROR, found.records, found.glue, found.glue_at, b"", services, True
            )
        authority = self._soa_of(zone, offset)
        if not found.exists:
            # Not remembered: there is no end of names that do not exist.
            return Answer(wire.NXDOMAIN, authority=authority)
        return Answer(wire.NOERROR, authority=authority, services=services)

    def _find(
        self, store: Store, asked: Asked, zone: Labels, zone_offset: int, qtype: int
    ) -> _Found:
        match asked:
            case ServiceInstances() | OneInstance():
                return self._instances(store, asked, zone, qtype)
            case NamedPort() | ServiceLocation():
                return self._located(store, asked, zone, qtype)
            case Address(packed):
                return self._addresses((packed,), qtype)
            case NameServer():
                return self._addresses(self._server_addresses, qtype)
            case Apex():
                return self._apex(zone, zone_offset, qtype)
            case AboveService(service):
                return _EMPTY if store.has_service(service) else _ABSENT
            case AboveNamespace(namespace):
                known = namespace == DEFAULT or store.has_namespace(namespace)
                return _EMPTY if known else _ABSENT
            case Nothing():
                return _ABSENT

    def _apex(self, zone: Labels, zone_offset: int, qtype: int) -> _Found:
        if qtype in (wire.SOA, wire.ANY):
            return _Found(True, (self._soa(wire.QNAME_POINTER, zone, zone_offset, self._ttl_s),))
        if qtype == wire.NS:
            glue = tuple(self._glue(address) for address in self._server_addresses)
            record = codec.ns_record(zone, zone_offset, self._ttl_s)
            return _Found(True, (record,), (glue,), _NS_TARGET_AT)
        return _EMPTY

    def _addresses(self, addresses: Sequence[bytes], qtype: int) -> _Found:
        return _Found(True, [self._address(a) for a in addresses if _asks_for(qtype, len(a))])

    def _instances(
        self, store: Store, asked: ServiceInstances | OneInstance, zone: Labels, qtype: int
    ) -> _Found:
        if isinstance(asked, OneInstance):
            one = store.record(asked.service, asked.id)
            packed: Collection[bytes] = () if one is None else (one,)
            tag = None
        else:
            packed, tag = store.records(asked.service), asked.tag
        exists = False
        shown = []
        for instance in map(unpack_record, packed):
            if tag is None or tag in instance.extras.tags:
                exists = True
                if instance.handed_out:
                    shown.append(instance)
        if not exists:
            return _ABSENT
        return self._of_type(shown, zone, qtype) if shown else _EMPTY

    def _of_type(self, shown: Sequence[Record], zone: Labels, qtype: int) -> _Found:
        if qtype == wire.ANY:
            every = (self._of_type(shown, zone, one) for one in _PREFERENCE)
            return next((found for found in every if found != _EMPTY), _EMPTY)
        if qtype == wire.SRV:
            return self._srv([(one, one.port) for one in shown], zone)
        if qtype == wire.TXT:
            return self._txt(shown)
        if len(shown) == 1 and shown[0].kind == HOST:
            return _Found(True, alias=_name_labels(shown[0].address))
        if qtype == wire.A:
            kind, head = IPV4, self._a
        elif qtype == wire.AAAA:
            kind, head = IPV6, self._aaaa
        else:
            return _EMPTY
        return _Found(True, list({head + one.address: None for one in shown if one.kind == kind}))

    def _located(
        self, store: Store, asked: NamedPort | ServiceLocation, zone: Labels, qtype: int
    ) -> _Found:
        """The forms that have SRV records only; the name exists if anything matches it."""
        matching = []
        for record in map(unpack_record, store.records(asked.service)):
            if isinstance(asked, NamedPort):
                port = _named_port(record.extras, asked)
            else:
                port = record.port if _located_there(record.extras, asked) else None
            if port is not None:
                matching.append((record, port))
        if not matching:
            return _ABSENT
        if qtype not in (wire.SRV, wire.ANY):
            return _EMPTY
        return self._srv([pair for pair in matching if pair[0].handed_out], zone)

    def _srv(self, located: Sequence[tuple[Record, int]], zone: Labels) -> _Found:
        suffix = wire.name_bytes((b"addr", *zone))
        found: dict[bytes, tuple[bytes, ...]] = {}
        targets: set[bytes] = set()
        for one, port in located:
            if not port or not one.kind:
                continue
            glue: tuple[bytes, ...] = ()
            if one.kind == HOST:
                target = one.address
            else:
                spelt = one.address.hex().encode("ascii")
                target = bytes((len(spelt),)) + spelt + suffix
                if target not in targets:
                    targets.add(target)
                    glue = (self._glue(one.address),)
            fixed = _SRV_FIXED.pack(
                wire.SRV,
                wire.CLASS_IN,
                self._ttl_s,
                6 + len(target),
                one.priority,
                one.weight,
                port,
            )
            found.setdefault(wire.QNAME_POINTER + fixed + target, glue)
        return _Found(True, list(found), list(found.values()), _SRV_TARGET_AT)

    def _txt(self, shown: Sequence[Record]) -> _Found:
        texts = dict.fromkeys(text for one in shown for text in one.extras.text)
        return _Found(True, [codec.txt_record(text_strings(text), self._ttl_s) for text in texts])

    def _follow(
        self, store: Store, found: _Found, services: tuple[bytes, ...], qtype: int
    ) -> Answer:
        """CNAME and what it leads to, as far as that is ours (RFC 1034 section 4.3.2)."""
        owner = wire.QNAME_POINTER
        chain: list[bytes] = []
        seen: set[Labels] = set()
        zone: Labels = ()
        while found.alias is not None:
            target = found.alias
            chain.append(codec.cname_record(owner, target, self._ttl_s))
            cut = self._zones.cut(target)
            if cut is None or qtype in (wire.CNAME, wire.ANY):
                return Answer(wire.NOERROR, chain, services=services)
            if target in seen or len(chain) == CNAME_CHAIN_MAX:
                return Answer(wire.NOERROR, chain)
            services = ()
            seen.add(target)
            below, zone = cut
            owner = wire.name_bytes(target)
            # Only addresses are taken from there, and they hold no names to be compressed.
            found = self._find(store, read_name(below), zone, 0, qtype)
        if found.records and qtype in (wire.A, wire.AAAA):
            moved = [owner + record[len(wire.QNAME_POINTER) :] for record in found.records]
            return Answer(wire.NOERROR, chain + moved)
        rcode = wire.NOERROR if found.exists else wire.NXDOMAIN
        soa = self._whole_soa(zone)
        return Answer(rcode, chain, authority=soa)

    def _whole_soa(self, zone: Labels) -> bytes:
        """A negative answer's SOA for a zone whose name stands nowhere in the message yet."""
        owner = wire.name_bytes(zone)
        return self._soa(owner, zone, None, self._negative_ttl_s)

    def _soa_of(self, zone: Labels, offset: int) -> bytes:
        """The SOA of a negative answer; a template, since random names must stay cheap."""
        template = self._negative_soa.get((zone, offset))
        if template is None:
            owner = (0xC000 | offset).to_bytes(2, "big")
            template = self._soa(owner, zone, offset, self._negative_ttl_s)
            self._negative_soa[zone, offset] = template
        return template[:_SERIAL_AT] + self._serial() + template[_SERIAL_AT + 4 :]

    def _soa(self, owner: bytes, zone: Labels, zone_offset: int | None, ttl_s: int) -> bytes:
        serial = int.from_bytes(self._serial(), "big")
        times = (serial, SOA_REFRESH_S, SOA_RETRY_S, SOA_EXPIRE_S, NEGATIVE_TTL_S)
        return codec.soa_record(owner, zone, zone_offset, ttl_s, times)

    def _serial(self) -> bytes:
        # RFC 1982 compares modulo 2^32, so the low bits of an index that only grows will do.
        return (self.index & 0xFFFFFFFF).to_bytes(4, "big")

    def _address(self, address: bytes) -> bytes:
        return (self._a if len(address) == 4 else self._aaaa) + address

    def _glue(self, address: bytes) -> bytes:
        return self._address(address)[len(wire.QNAME_POINTER) :]


def _address_head(rtype: int, ttl_s: int, size: int) -> bytes:
    return wire.QNAME_POINTER + struct.pack("!HHIH", rtype, wire.CLASS_IN, ttl_s, size)


def _asks_for(qtype: int, address_bytes: int) -> bool:
    return qtype == wire.ANY or qtype == (wire.A if address_bytes == 4 else wire.AAAA)


def _depends(asked: Asked) -> tuple[bytes, ...]:
    match asked:
        case (
            ServiceInstances(service=key)
            | OneInstance(service=key)
            | NamedPort(service=key)
            | ServiceLocation(service=key)
        ):
            return (key,)
        case _:
            return ()


def _named_port(extras: Extras, asked: NamedPort) -> int | None:
    for name, protocol, number in extras.ports:
        if name == asked.port and protocol == asked.protocol:
            return number
    return None


def _located_there(extras: Extras, asked: ServiceLocation) -> bool:
    if asked.protocol is not None:
        return extras.protocol == asked.protocol
    return asked.tag is None or asked.tag in extras.tags


def _name_labels(name: bytes) -> Labels:
    return tuple(_labels(name))


def _labels(name: bytes) -> Iterator[bytes]:
    at = 0
    while length := name[at]:
        yield name[at + 1 : at + 1 + length]
        at += length + 1
