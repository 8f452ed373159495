"""A zone, or what changed in it, as a stream of messages: made one at a time, as they are read."""

from collections.abc import Iterable, Iterator, Sequence

from .. import wire
from ..names import Labels
from ..query import Query
from ..reply import opt_record
from .board import Difference, Moment, Records, records_of_held
from .zone import ZoneRecord, ZoneRecords

MESSAGE_BYTES = 16 * 1024
"""Of records in a message: large enough for its header and signature to weigh nothing, small
enough to be made within a millisecond. A single larger record goes alone."""


def axfr(zone: ZoneRecords, moment: Moment) -> Iterator[ZoneRecord]:
    """RFC 5936 section 2.2: everything between two SOA records."""
    soa = zone.soa(moment.serial)
    yield soa
    yield from zone.apex()
    for key, held in moment.services.items():
        yield from zone.service(key, records_of_held(held))
    for address in moment.addresses:
        yield from zone.address(address)
    yield soa


def ixfr(zone: ZoneRecords, difference: Difference) -> Iterator[ZoneRecord]:
    """RFC 1995 section 4, condensed into one difference."""
    new, old = zone.soa(difference.after), zone.soa(difference.before)
    yield new
    yield old
    pairs = difference.services
    yield from _only_in(zone, ((key, old, new) for key, (old, new) in pairs.items()))
    yield from _addresses(zone, difference.gone)
    yield new
    yield from _only_in(zone, ((key, new, old) for key, (old, new) in pairs.items()))
    yield from _addresses(zone, difference.new)
    yield new


def single_soa(zone: ZoneRecords, serial: int) -> Iterator[ZoneRecord]:
    """The whole answer to who has it already, or cannot have it this way."""
    yield zone.soa(serial)


def messages(
    packet_id: bytes, query: Query, records: Iterable[ZoneRecord], limit_bytes: int = MESSAGE_BYTES
) -> Iterator[bytes]:
    """Replies with the question in each, so that every owner can point at the zone's name there."""
    opt = opt_record(query.edns, wire.NOERROR)
    room = limit_bytes - wire.HEADER_BYTES - len(query.question) - len(opt)
    packed: list[bytes] = []
    size = 0
    last: Labels | None = None
    prefix = b""
    for owner, body in records:
        if owner is not last:
            last = owner
            prefix = b"".join(bytes((len(one),)) + one for one in owner) + wire.QNAME_POINTER
        record = prefix + body
        if packed and size + len(record) > room:
            yield _message(packet_id, query, packed, opt)
            packed = []
            size = 0
        packed.append(record)
        size += len(record)
    if packed:
        yield _message(packet_id, query, packed, opt)


def _message(packet_id: bytes, query: Query, records: Sequence[bytes], opt: bytes) -> bytes:
    flags = wire.FLAG_QR | wire.FLAG_AA | (query.flags & wire.FLAG_RD)
    numbers = (flags, 1, len(records), 0, int(bool(opt)))
    head = b"".join(number.to_bytes(2, "big") for number in numbers)
    return b"".join((packet_id, head, query.question, *records, opt))


def _only_in(
    zone: ZoneRecords, services: Iterable[tuple[bytes, Records, Records]]
) -> Iterator[ZoneRecord]:
    """Of (key, these, others): the records that only these make."""
    for key, these, others in services:
        also = set(zone.service(key, others))
        yield from (one for one in zone.service(key, these) if one not in also)


def _addresses(zone: ZoneRecords, addresses: Iterable[bytes]) -> Iterator[ZoneRecord]:
    for address in addresses:
        yield from zone.address(address)
