"""From a name and the copy of the board to the sections of a reply.

Owner names are pointers to the question, so that answers echo the letter case as asked.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, NamedTuple

from . import codec, wire
from .instances import ABSENT, EMPTY, Found, InstanceRecords, named_port
from .names import (
    DEFAULT,
    AboveNamespace,
    AbovePorts,
    AboveProtocol,
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
from .record import (
    IPV4,
    IPV6,
    is_handed_out,
    kind_facet,
    port_facet,
    port_protocol_facet,
    protocol_facet,
    tag_facet,
    unpack_record,
)
from .reverse_answers import ReverseAnswers
from .siblings import FindSibling, sibling_finder
from .store import Store

NEGATIVE_TTL_S: Final = 5
"""How long "no such thing" may be remembered (RFC 2308): a service that has just been
registered must not stay invisible behind resolvers for longer than its records would live."""
SOA_REFRESH_S: Final = 3600
SOA_RETRY_S: Final = 600
SOA_EXPIRE_S: Final = 86_400
CNAME_CHAIN_MAX: Final = 8
"""Aliases followed inside our zones; registrations can point at each other in a circle."""

_SERIAL_AT: Final = -20
"""Where the serial stands in a SOA record, counted from its end: five 32-bit numbers."""
_NS_TARGET_AT: Final = 12
_KIND_OF_TYPE: Final = {wire.A: IPV4, wire.AAAA: IPV6}


class Place(NamedTuple):
    """What a name asks for, and how it is cut: the labels `below` the zone's."""

    asked: Asked
    below: Labels
    zone: Labels


class Answer(NamedTuple):
    """Sections of a reply; `glue` and `glue_at` are as in `Found`.

    `services` are the keys of what it was made from; without any it must not be remembered,
    because nothing would say that it is out of date. `place` is there if the names beside are
    read alike.
    """

    rcode: int
    records: Sequence[bytes] = ()
    glue: Sequence[tuple[bytes, ...]] = ()
    glue_at: int = 0
    authority: bytes = b""
    services: tuple[bytes, ...] = ()
    rotates: bool = False
    place: Place | None = None


class Siblings(NamedTuple):
    """How to find them, and the SOA of now for what is not there."""

    find: FindSibling
    authority: Callable[[], bytes]


class Answers:
    """Answers questions of class IN for one configuration."""

    def __init__(
        self, zones: Zones, ttl_s: int, server_addresses: Sequence[bytes], reverse: ReverseAnswers
    ) -> None:
        self.index = 0
        """The registry's index that the copy reflects: the serial of the zones."""
        self._zones = zones
        self._ttl_s = ttl_s
        self._negative_ttl_s = min(ttl_s, NEGATIVE_TTL_S)
        self._server_addresses = server_addresses
        self._reverse = reverse
        self._negative_soa: dict[tuple[Labels, int], bytes] = {}
        self._instances = InstanceRecords(ttl_s)

    def covers(self, labels: Labels) -> bool:
        """Whether the name is in one of the zones."""
        return self._zones.cut(labels) is not None

    def answer(self, store: Store, labels: Labels, qtype: int, enough: int) -> Answer | None:
        """None for a name outside the zones; `enough` is as in `InstanceRecords`."""
        cut = self._zones.cut(labels)
        if cut is None:
            return None
        below, zone = cut
        asked = read_name(below)
        offset = _offset(below)
        if below and zone in self._reverse.zones:
            asked = Nothing()
            found = self._reverse.find(store, labels, qtype)
        else:
            found = self._find(store, asked, zone, offset, qtype, enough)
        if found.alias is not None:
            origin = _origin(asked)
            return self._follow(store, labels, found, origin, qtype, enough)
        alike = zone not in self._reverse.zones and not self._zones.is_split(zone)
        place = Place(asked, below, zone) if alike else None
        if found.records:
            records, glue, glue_at = found.records, found.glue, found.glue_at
            return Answer(wire.NOERROR, records, glue, glue_at, b"", _origin(asked), True, place)
        authority = self._negative_soa_at(zone, offset)
        if not found.exists:
            # Not remembered by name: there is no end of names that do not exist.
            return Answer(wire.NXDOMAIN, authority=authority, place=place)
        origin = _origin(asked)
        return Answer(wire.NOERROR, authority=authority, services=origin, place=place)

    def siblings(self, store: Store, place: Place, qtype: int) -> Siblings | None:
        """Of the names that are read like the one at `place`."""
        asked, below, zone = place
        find = sibling_finder(store, asked, below, zone, qtype, self._ttl_s)
        return find and Siblings(find, partial(self._negative_soa_at, zone, _offset(below)))

    def is_zone(self, labels: Labels) -> bool:
        """Whether that is the name of a zone, and no name below one."""
        cut = self._zones.cut(labels)
        return cut is not None and not cut[0]

    def _find(
        self, store: Store, asked: Asked, zone: Labels, zone_offset: int, qtype: int, enough: int
    ) -> Found:
        match asked:
            case ServiceInstances() | OneInstance():
                exists, shown = _records(store, asked, qtype)
                if not shown:
                    return EMPTY if exists else ABSENT
                return self._instances.of_type(shown, zone, qtype, enough)
            case NamedPort() | ServiceLocation():
                return self._located(store, asked, zone, qtype, enough)
            case Address(packed):
                return self._addresses((packed,), qtype)
            case NameServer():
                return self._addresses(self._server_addresses, qtype)
            case Apex():
                return self._apex(zone, zone_offset, qtype)
            case AboveService() | AbovePorts() | AboveProtocol() | AboveNamespace():
                return EMPTY if _is_above(store, asked) else ABSENT
            case Nothing():
                return ABSENT

    def _located(
        self,
        store: Store,
        asked: NamedPort | ServiceLocation,
        zone: Labels,
        qtype: int,
        enough: int,
    ) -> Found:
        """The forms that have SRV records only."""
        exists, shown = store.find(asked.service, _facet(asked))
        if not exists or qtype not in (wire.SRV, wire.ANY):
            return EMPTY if exists else ABSENT
        records = map(unpack_record, shown)
        if isinstance(asked, NamedPort):
            pairs = ((one, named_port(one, asked)) for one in records)
        else:
            pairs = ((one, one.port) for one in records)
        return self._instances.srv(pairs, zone, enough)

    def _apex(self, zone: Labels, zone_offset: int, qtype: int) -> Found:
        if qtype in (wire.SOA, wire.ANY):
            return Found(True, (self._soa(wire.QNAME_POINTER, zone, zone_offset, self._ttl_s),))
        if qtype == wire.NS:
            glue = tuple(self._instances.glue(address) for address in self._server_addresses)
            record = codec.ns_record(self._reverse.home_of(zone), zone, zone_offset, self._ttl_s)
            return Found(True, (record,), (glue,), _NS_TARGET_AT)
        return EMPTY

    def _addresses(self, addresses: Sequence[bytes], qtype: int) -> Found:
        size = {wire.A: 4, wire.AAAA: 16}.get(qtype)
        if qtype == wire.ANY:
            size = len(addresses[0])
        return Found(True, [self._instances.address(one) for one in addresses if len(one) == size])

    def _follow(
        self,
        store: Store,
        labels: Labels,
        found: Found,
        services: tuple[bytes, ...],
        qtype: int,
        enough: int,
    ) -> Answer:
        """CNAME and what it leads to, as far as that is ours (RFC 1034 section 4.3.2)."""
        owner = wire.QNAME_POINTER
        chain: list[bytes] = []
        seen = {labels}
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
            found = self._find(store, read_name(below), zone, 0, qtype, enough)
        if found.records and qtype in (wire.A, wire.AAAA):
            moved = [owner + record[len(wire.QNAME_POINTER) :] for record in found.records]
            return Answer(wire.NOERROR, chain + moved)
        rcode = wire.NOERROR if found.exists else wire.NXDOMAIN
        soa = self._soa(wire.name_bytes(zone), zone, None, self._negative_ttl_s)
        return Answer(rcode, chain, authority=soa)

    def _negative_soa_at(self, zone: Labels, offset: int) -> bytes:
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
        home = self._reverse.home_of(zone)
        return codec.soa_record(owner, home, zone, zone_offset, ttl_s, times)

    def _serial(self) -> bytes:
        # RFC 1982 compares modulo 2^32, so the low bits of an index that only grows will do.
        return (self.index & 0xFFFFFFFF).to_bytes(4, "big")


def _offset(below: Labels) -> int:
    """Where the zone's name stands in the question."""
    return wire.HEADER_BYTES + sum(map(len, below)) + len(below)


def _records(
    store: Store, asked: ServiceInstances | OneInstance, qtype: int
) -> tuple[bool, Collection[bytes]]:
    """Whether the name exists, and the packed records that may answer it."""
    if isinstance(asked, OneInstance):
        one = store.one(asked.service, asked.id)
        return one is not None, (one,) if one and is_handed_out(one) else ()
    if asked.tag is not None:
        return store.find(asked.service, tag_facet(asked.tag))
    kind = _KIND_OF_TYPE.get(qtype)
    if kind is not None and store.is_crowd(asked.service):
        # A crowd of IPv4 must not be read to its end for the AAAA that comes with every A.
        return True, store.find(asked.service, kind_facet(kind))[1]
    return store.find(asked.service)


def _is_above(
    store: Store, asked: AboveService | AbovePorts | AboveProtocol | AboveNamespace
) -> bool:
    """Whether there is anything below an empty non-terminal (RFC 8020)."""
    match asked:
        case AboveService(service):
            return store.has_service(service)
        case AbovePorts(service, protocol):
            return store.find(service, port_protocol_facet(protocol))[0]
        case AboveProtocol(namespace, protocol):
            return store.has_protocol(namespace, protocol)
        case AboveNamespace(namespace):
            return namespace == DEFAULT or store.has_namespace(namespace)


def _facet(asked: NamedPort | ServiceLocation) -> bytes | None:
    if isinstance(asked, NamedPort):
        return port_facet(asked.port, asked.protocol)
    if asked.protocol is not None:
        return protocol_facet(asked.protocol)
    return None if asked.tag is None else tag_facet(asked.tag)


def _origin(asked: Asked) -> tuple[bytes, ...]:
    """The service behind what was asked for: the answer stands until that changes."""
    if isinstance(asked, ServiceInstances | OneInstance | NamedPort | ServiceLocation):
        return (asked.service,)
    return ()
