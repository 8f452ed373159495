"""The rarely used records, through dnslib: labels and values in, bytes out. Only place for it.

dnslib encodes only what is ours here. It never reads a packet: its parser takes quadratic time.
"""

from collections.abc import Sequence

import dnslib
from dnslib.label import DNSBuffer

from .wire import CLASS_IN, CNAME, NS, PTR, QNAME_POINTER, SOA, TXT

Labels = tuple[bytes, ...]


def soa_record(
    owner: bytes,
    home: Labels,
    zone: Labels,
    zone_offset: int | None,
    ttl_s: int,
    times: tuple[int, int, int, int, int],
) -> bytes:
    """A SOA record: `times` are serial, refresh, retry, expire and minimum.

    `home` is the zone that has the name server's name, mostly `zone` itself; `zone_offset` is
    where the zone's name stands in the message; None: not compressed.
    """
    rdata = dnslib.SOA(
        mname=dnslib.DNSLabel((b"ns", *home)),
        rname=dnslib.DNSLabel((b"hostmaster", *home)),
        times=times,
    )
    return _record(owner, SOA, ttl_s, _packed(rdata, zone, zone_offset))


def ns_record(home: Labels, zone: Labels, zone_offset: int, ttl_s: int) -> bytes:
    """The zone's NS record, owned by the question's name; `home` is as in `soa_record`."""
    rdata = dnslib.NS(dnslib.DNSLabel((b"ns", *home)))
    return _record(QNAME_POINTER, NS, ttl_s, _packed(rdata, zone, zone_offset))


def cname_record(owner: bytes, target: Labels, ttl_s: int) -> bytes:
    return _record(owner, CNAME, ttl_s, _packed(dnslib.CNAME(dnslib.DNSLabel(target))))


def ptr_record(target: Labels, ttl_s: int) -> bytes:
    return _record(QNAME_POINTER, PTR, ttl_s, _packed(dnslib.PTR(dnslib.DNSLabel(target))))


def txt_record(strings: Sequence[bytes], ttl_s: int) -> bytes:
    """`strings` are of up to 255 bytes each."""
    return _record(QNAME_POINTER, TXT, ttl_s, _packed(dnslib.TXT(list(strings))))


class _Buffer(DNSBuffer):  # type: ignore[misc]  # dnslib is untyped
    """dnslib points at names it has written, by offsets of its own buffer; ours is a message."""

    def __init__(self, zone: Labels, zone_offset: int | None) -> None:
        super().__init__()
        self._zone = zone
        self._zone_offset = zone_offset

    def encode_name(self, name: dnslib.DNSLabel) -> None:
        self.names.clear()
        if self._zone_offset is not None:
            self.names[self._zone] = self._zone_offset
        super().encode_name(name)


def _packed(rdata: dnslib.RD, zone: Labels = (), zone_offset: int | None = None) -> bytes:
    buffer = _Buffer(zone, zone_offset)
    rdata.pack(buffer)
    return bytes(buffer.data)


def _record(owner: bytes, rtype: int, ttl_s: int, rdata: bytes) -> bytes:
    fixed = (rtype << 64 | CLASS_IN << 48 | ttl_s << 16 | len(rdata)).to_bytes(10, "big")
    return owner + fixed + rdata
