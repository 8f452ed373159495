"""What DNS needs to know of an instance, packed so that a million of them are small.

A record is `id length, id, kind, priority, weight, port, address, extras`. The fixed part is
read by slicing, because a service's answers are compiled again whenever it changes; the extras
(tags, named ports, protocol, meta) are msgpack and there only when one of them is.
"""

import struct
from typing import Final, NamedTuple

import msgpack

IPV4: Final = 4
IPV6: Final = 6
HOST: Final = 1
NO_ADDRESS: Final = 0
"""The address is text that is neither an IP address nor a name that fits into DNS."""
WITHHELD: Final = 0x80
"""Set on the kind of an instance that exists and must not get traffic."""

FIXED: Final = struct.Struct("!BHHH")
_TEXT_BYTES_MAX: Final = 255


class Extras(NamedTuple):
    """`ports` are (name, protocol, number) in lower case; `text` are TXT payloads."""

    protocol: bytes = b"tcp"
    tags: tuple[bytes, ...] = ()
    ports: tuple[tuple[bytes, bytes, int], ...] = ()
    text: tuple[bytes, ...] = ()


NO_EXTRAS: Final = Extras()


class Record(NamedTuple):
    """`address` is 4 or 16 bytes, a wire name (`HOST`), or empty (`NO_ADDRESS`).

    `port` is 0 for an instance without one.
    """

    id: bytes
    handed_out: bool
    kind: int
    address: bytes
    port: int
    priority: int
    weight: int
    extras: Extras


def unpack_record(record: bytes) -> Record:
    """The inverse of `projection.pack_record`, as far as DNS can tell instances apart."""
    start = record[0] + 1
    kind, priority, weight, port = FIXED.unpack_from(record, start)
    handed_out = not kind & WITHHELD
    kind &= ~WITHHELD
    begin = start + FIXED.size
    end = begin + _address_bytes(record, kind, begin)
    address = record[begin + (kind == HOST) : end]
    extras = NO_EXTRAS if end == len(record) else _unpack_extras(record[end:])
    return Record(record[1:start], handed_out, kind, address, port, priority, weight, extras)


def prefix_of(record: bytes) -> bytes:
    """The length and the id: what tells the records of a service apart."""
    return record[: record[0] + 1]


def is_handed_out(record: bytes) -> bool:
    return not record[record[0] + 1] & WITHHELD


def is_host(record: bytes) -> bool:
    """Whether the address of a handed-out instance is a name, without taking the rest apart."""
    return record[record[0] + 1] == HOST


def ipv4_of(record: bytes) -> bytes | None:
    """The address of a handed-out IPv4 instance, without taking the rest apart."""
    start = record[0] + 1
    return record[start + 7 : start + 11] if record[start] == IPV4 else None


def address_of(record: bytes) -> bytes | None:
    """The IP address of an instance, handed out or not, without taking the rest apart."""
    start = record[0] + 1
    size_bytes = {IPV4: 4, IPV6: 16}.get(record[start] & ~WITHHELD)
    begin = start + FIXED.size
    return None if size_bytes is None else record[begin : begin + size_bytes]


def protocol_of(record: bytes) -> bytes:
    """The protocol in lower case, without taking the rest apart."""
    begin = record[0] + 1 + FIXED.size
    end = begin + _address_bytes(record, record[record[0] + 1] & ~WITHHELD, begin)
    if end == len(record):
        return NO_EXTRAS.protocol
    # An array of four (one byte), whose first is a bin 8: its mark, its length, its bytes.
    return record[end + 3 : end + 3 + record[end + 2]]


def tag_facet(tag: bytes) -> bytes:
    return b"t" + tag


def protocol_facet(protocol: bytes) -> bytes:
    return b"x" + protocol


def port_facet(name: bytes, protocol: bytes) -> bytes:
    return b"p" + name + b"." + protocol


def port_protocol_facet(protocol: bytes) -> bytes:
    """Having a named port of the protocol at all."""
    return b"q" + protocol


def kind_facet(kind: int) -> bytes:
    return b"k%d" % kind


def facets_of(record: Record) -> set[bytes]:
    """Everything by which a query may pick this instance out of its service."""
    extras = record.extras
    facets = {tag_facet(tag) for tag in extras.tags}
    facets.update(port_facet(name, protocol) for name, protocol, _ in extras.ports)
    facets.update(port_protocol_facet(protocol) for _, protocol, _ in extras.ports)
    facets.add(protocol_facet(extras.protocol))
    facets.add(kind_facet(record.kind))
    return facets


def text_strings(text: bytes) -> list[bytes]:
    """A TXT payload cut into character-strings; readers join them (RFC 7208 section 3.3)."""
    return [text[at : at + _TEXT_BYTES_MAX] for at in range(0, len(text), _TEXT_BYTES_MAX)]


def _address_bytes(record: bytes, kind: int, begin: int) -> int:
    if kind == IPV4:
        return 4
    if kind == IPV6:
        return 16
    return 1 + record[begin] if kind == HOST else 0


def _unpack_extras(packed: bytes) -> Extras:
    protocol, tags, ports, text = msgpack.unpackb(packed, use_list=False)
    return Extras(protocol, tags, ports, text)
