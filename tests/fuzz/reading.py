"""A strict reader of DNS messages, small enough to check ten million of them.

It shares nothing with the code under test. dnspython reads a part of the same replies, and so
reads this reader.
"""

import struct


class Wrong(Exception):
    """Not a message, or not one that a strict reader takes."""


def read_message(data, *, names=True, trailing=False):
    """Records of the message by section, as (type, class, TTL, data). Raises `Wrong`.

    Nothing may follow the last record unless `trailing`; names may point back only. With
    `names` False they are stepped over unread, for what others wrote and we passed on.
    """
    try:
        return _read(data, names, trailing)
    except (IndexError, struct.error) as error:
        raise Wrong("it ends early") from error


def _read(data, names, trailing):
    _, _, questions, *counts = struct.unpack_from("!6H", data)
    offset = 12
    for _ in range(questions):
        offset = _name(data, offset, names) + 4
    sections = []
    for count in counts:
        records = []
        for _ in range(count):
            offset = _name(data, offset, names)
            rtype, rclass, ttl, size = struct.unpack_from("!HHIH", data, offset)
            offset += 10 + size
            records.append((rtype, rclass, ttl, data[offset - size : offset]))
        sections.append(records)
    if offset != len(data) and not (trailing and offset < len(data)):
        raise Wrong(f"{len(data) - offset} bytes too many")
    return sections


def _name(data, offset, names):
    end = None
    octets = 0
    least = offset
    while length := data[offset]:
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | data[offset + 1]
            end = offset + 2 if end is None else end
            if not names:
                return end
            if target >= least or target < 12:
                raise Wrong(f"a pointer from {offset} to {target}")
            least = offset = target
            continue
        if length > 63:
            raise Wrong(f"a label type {length >> 6}")
        octets += length + 1
        if octets >= 255:
            raise Wrong("a name of more than 255 octets")
        offset += length + 1
    return offset + 1 if end is None else end


def offered_bytes(query):
    """What the client takes over UDP, as the query says; 512 where it says nothing."""
    try:
        *_, additional = read_message(query, names=False, trailing=True)
    except Wrong:
        return None
    sizes = [rclass for rtype, rclass, *_ in additional if rtype == 41]
    return max(512, *sizes) if sizes else 512
