"""What stands in a zone: every name that we answer, as records that a secondary can hold.

A record is (labels of the owner below the zone, bytes from the type on). What no zone can hold is
left out: names that answer whatever is registered (`HEX.addr` of addresses nobody has), a tag
`*`, which would be a wildcard there, and what stands beside a CNAME.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from .. import codec, wire
from ..answers import (
    NEGATIVE_TTL_S,
    SOA_EXPIRE_S,
    SOA_REFRESH_S,
    SOA_RETRY_S,
)
from ..instances import READ_MAX, Found, InstanceRecords, named_port
from ..names import DEFAULT, Labels, NamedPort, Zones, namespace_of
from ..record import HOST, IPV4, IPV6, Record, address_of, is_handed_out, unpack_record
from ..reverse import name_of, reverse_labels

ZoneRecord = tuple[Labels, bytes]

_ALL: Final = READ_MAX + 1
"""`enough` records for `InstanceRecords`: as many as it reads."""
_MARKED_BYTES_MAX: Final = wire.LABEL_BYTES_MAX - 1
_OWNER_BYTES: Final = len(wire.QNAME_POINTER)


class ZoneRecords:
    """Makes the records of one zone."""

    def __init__(
        self, zone: Labels, zones: Sequence[Labels], ttl_s: int, server_addresses: Sequence[bytes]
    ) -> None:
        self.zone = zone
        self._home = zone
        """Where its name server has its name."""
        self._ttl_s = ttl_s
        self._server_addresses = tuple(dict.fromkeys(server_addresses))
        self._instances = InstanceRecords(ttl_s)
        inner = [one for one in zones if len(one) > len(zone) and one[-len(zone) :] == zone]
        self._inner = Zones(one[: -len(zone)] for one in inner) if inner else None
        self._below_bytes_max = wire.NAME_BYTES_MAX - len(wire.name_bytes(zone))

    def soa(self, serial: int) -> ZoneRecord:
        """`serial` is the registry's index; RFC 1982 compares modulo 2^32."""
        times = (serial & 0xFFFFFFFF, SOA_REFRESH_S, SOA_RETRY_S, SOA_EXPIRE_S, NEGATIVE_TTL_S)
        owner = wire.QNAME_POINTER
        record = codec.soa_record(
            owner, self._home, self.zone, wire.HEADER_BYTES, self._ttl_s, times
        )
        return (), record[_OWNER_BYTES:]

    def apex(self) -> Iterator[ZoneRecord]:
        """NS and its address records; the SOA stands where the transfer wants it."""
        record = codec.ns_record(self.zone, self.zone, wire.HEADER_BYTES, self._ttl_s)
        yield (), record[_OWNER_BYTES:]
        for address in self._server_addresses:
            yield (b"ns",), self._instances.glue(address)

    def address(self, packed: bytes) -> Iterator[ZoneRecord]:
        owner = (packed.hex().encode("ascii"), b"addr")
        if self._fits(owner):
            yield owner, self._instances.glue(packed)

    def service(self, key: bytes, held: Collection[bytes]) -> Iterator[ZoneRecord]:
        """The records of a service's instances, `held` as packed; no other service has any."""
        namespace = namespace_of(key)
        ends: tuple[Labels, ...] = ((namespace, b"ns"),)
        if namespace == DEFAULT:
            ends = ((), *ends)
        for owner, bodies in self._names(key.partition(b".")[0], held):
            for end in ends:
                name = owner + end
                if bodies and self._fits(name):
                    yield from ((name, body) for body in bodies)

    def _names(
        self, service: bytes, held: Collection[bytes]
    ) -> Iterator[tuple[Labels, list[bytes]]]:
        shown = {one: unpack_record(one) for one in held if is_handed_out(one)}
        home = (service, b"service")
        yield home, self._of_instances(shown)
        for one, record in shown.items():
            yield (record.id, service, b"instance"), self._of_instances({one: record})
        own = _marked(service)
        for tag, having in _by_tag(shown).items():
            if _can_stand(tag):
                yield (tag, *home), self._of_instances({one: shown[one] for one in having})
            if own and tag != b"tcp" and len(tag) <= _MARKED_BYTES_MAX:
                records = [shown[one] for one in having]
                yield (own, b"_" + tag, b"service"), self._srv((one, one.port) for one in records)
        if own:
            everyone = list(shown.values())
            yield (own, b"_tcp", b"service"), self._srv((one, one.port) for one in everyone)
            yield from self._by_protocol(own, everyone)
        yield from self._named_ports(home, shown.values())

    def _by_protocol(
        self, own: bytes, shown: Iterable[Record]
    ) -> Iterator[tuple[Labels, list[bytes]]]:
        groups: dict[bytes, list[Record]] = {}
        for one in shown:
            groups.setdefault(one.extras.protocol, []).append(one)
        for protocol, having in groups.items():
            if label := _marked(protocol):
                yield (own, label), self._srv((one, one.port) for one in having)

    def _named_ports(
        self, home: Labels, shown: Iterable[Record]
    ) -> Iterator[tuple[Labels, list[bytes]]]:
        groups: dict[tuple[bytes, bytes], list[Record]] = {}
        for one in shown:
            for name in dict.fromkeys((port, protocol) for port, protocol, _ in one.extras.ports):
                groups.setdefault(name, []).append(one)
        for (port, protocol), having in groups.items():
            asked = NamedPort(b"", port, protocol)
            marked = (_marked(port), _marked(protocol))
            if all(marked):
                located = ((one, named_port(one, asked)) for one in having)
                yield (*marked, *home), self._srv(located)

    def _of_instances(self, shown: Mapping[bytes, Record]) -> list[bytes]:
        """All types, or nothing but the CNAME (RFC 1034 section 3.6.2)."""
        bodies: list[bytes] = []
        for qtype in _types_of(shown.values()):
            found = self._instances.of_type(shown.keys(), self.zone, qtype, _ALL)
            if found.alias is not None:
                record = codec.cname_record(wire.QNAME_POINTER, found.alias, self._ttl_s)
                return [record[_OWNER_BYTES:]]
            bodies += _bodies(found)
        return bodies

    def _srv(self, located: Iterable[tuple[Record, int]]) -> list[bytes]:
        return _bodies(self._instances.srv(located, self.zone, _ALL))

    def _fits(self, owner: Labels) -> bool:
        """Whether the name can be asked for, and this is the zone that answers it."""
        if sum(map(len, owner)) + len(owner) > self._below_bytes_max:
            return False
        return self._inner is None or self._inner.cut(owner) is None


class ReverseZoneRecords(ZoneRecords):
    """Those of a zone of addresses: PTR records that lead to names in `home`.

    An address has all of its names here, where an answer of ours stops at `reverse.NAMES_MAX`.
    """

    def __init__(
        self,
        zone: Labels,
        zones: Sequence[Labels],
        home: Labels,
        ttl_s: int,
        server_addresses: Sequence[bytes],
    ) -> None:
        super().__init__(zone, zones, ttl_s, server_addresses)
        self._home = home

    def apex(self) -> Iterator[ZoneRecord]:
        record = codec.ns_record(self._home, self.zone, wire.HEADER_BYTES, self._ttl_s)
        yield (), record[_OWNER_BYTES:]

    def address(self, packed: bytes) -> Iterator[ZoneRecord]:
        return iter(())

    def service(self, key: bytes, held: Collection[bytes]) -> Iterator[ZoneRecord]:
        for one in held:
            packed = address_of(one)
            if packed is None:
                continue
            labels = reverse_labels(packed)
            below = len(labels) - len(self.zone)
            if below > 0 and labels[below:] == self.zone and self._fits(labels[:below]):
                target = (*name_of(one[1 : one[0] + 1], key), *self._home)
                record = codec.ptr_record(target, self._ttl_s)
                yield labels[:below], record[_OWNER_BYTES:]


def _types_of(records: Collection[Record]) -> list[int]:
    """What it is worth to ask for: every other type would be unpacked for nothing."""
    kinds = {one.kind for one in records}
    types = [wire.A] if IPV4 in kinds or HOST in kinds else []
    if IPV6 in kinds:
        types.append(wire.AAAA)
    types.append(wire.SRV)
    if any(one.extras.text for one in records):
        types.append(wire.TXT)
    return types


def addresses_of(held: Iterable[bytes]) -> list[bytes]:
    """The packed IP addresses of the instances that are handed out, one for each."""
    shown = (unpack_record(one) for one in held if is_handed_out(one))
    return [one.address for one in shown if one.kind in (IPV4, IPV6)]


def _bodies(found: Found) -> list[bytes]:
    return [record[_OWNER_BYTES:] for record in found.records]


def _by_tag(shown: dict[bytes, Record]) -> dict[bytes, list[bytes]]:
    groups: dict[bytes, list[bytes]] = {}
    for one, record in shown.items():
        for tag in dict.fromkeys(record.extras.tags):
            groups.setdefault(tag, []).append(one)
    return groups


def _can_stand(tag: bytes) -> bool:
    """Whether it is no wildcard, and no label that is read as a protocol."""
    return tag != b"*" and not _is_marked(tag)


def _is_marked(label: bytes) -> bool:
    return label[:1] == b"_" and len(label) > 1


def _marked(text: bytes) -> bytes:
    """As a label of the RFC 2782 forms; empty when it cannot be one."""
    if not 0 < len(text) <= _MARKED_BYTES_MAX or b"." in text:
        return b""
    return b"_" + text
