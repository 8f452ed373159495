"""Numbers of the DNS message format (RFC 1035 section 4, RFC 6891) and its names."""

from collections.abc import Sequence
from typing import Final

HEADER_BYTES: Final = 12
NAME_BYTES_MAX: Final = 255
LABEL_BYTES_MAX: Final = 63

UDP_BYTES_PLAIN: Final = 512
"""What a client without EDNS takes (RFC 1035 section 4.2.1)."""
UDP_BYTES_MAX: Final = 1232
"""Never more than this over UDP, whatever the client offers: it crosses every IPv6 path
unfragmented (the agreement of DNS flag day 2020), and fragments can be forged."""
TCP_BYTES_MAX: Final = 65_535

FLAG_QR: Final = 0x8000
FLAG_AA: Final = 0x0400
FLAG_TC: Final = 0x0200
FLAG_RD: Final = 0x0100
FLAG_RA: Final = 0x0080
FLAG_AD: Final = 0x0020
FLAG_CD: Final = 0x0010
OPCODE_MASK: Final = 0x7800
EDNS_DO: Final = 0x8000

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
NOTAUTH: Final = 9
BADVERS: Final = 16
BADCOOKIE: Final = 23

RCODE_NAMES: Final = {
    NOERROR: "NOERROR",
    FORMERR: "FORMERR",
    SERVFAIL: "SERVFAIL",
    NXDOMAIN: "NXDOMAIN",
    NOTIMP: "NOTIMP",
    REFUSED: "REFUSED",
    NOTAUTH: "NOTAUTH",
    BADVERS: "BADVERS",
}

A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
MX: Final = 15
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
OPT: Final = 41
HTTPS: Final = 65
TSIG: Final = 250
IXFR: Final = 251
AXFR: Final = 252
ANY: Final = 255

TYPE_NAMES: Final = {
    A: "A",
    NS: "NS",
    CNAME: "CNAME",
    SOA: "SOA",
    PTR: "PTR",
    MX: "MX",
    TXT: "TXT",
    AAAA: "AAAA",
    SRV: "SRV",
    HTTPS: "HTTPS",
    IXFR: "IXFR",
    AXFR: "AXFR",
    ANY: "ANY",
}

CLASS_IN: Final = 1
CLASS_CH: Final = 3

QNAME_POINTER: Final = b"\xc0\x0c"
"""A compression pointer to the question's name, which always stands at offset 12."""


def name_bytes(labels: Sequence[bytes]) -> bytes:
    """An uncompressed wire name, the root label included."""
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def labels_in(name: bytes) -> tuple[bytes, ...]:
    """The inverse of `name_bytes`, for a name that we have written."""
    labels = []
    at = 0
    while length := name[at]:
        labels.append(name[at + 1 : at + 1 + length])
        at += length + 1
    return tuple(labels)


def labels_of(name: str) -> tuple[bytes, ...]:
    """The labels of a dotted name in lower case; a trailing dot is allowed.

    Raises `ValueError` for what is no host name on the wire.
    """
    labels = tuple(label.encode("ascii") for label in name.lower().removesuffix(".").split("."))
    if any(not 1 <= len(label) <= LABEL_BYTES_MAX for label in labels):
        raise ValueError(f"{name!r} has an empty label or one over {LABEL_BYTES_MAX} bytes")
    if sum(len(label) + 1 for label in labels) + 1 > NAME_BYTES_MAX:
        raise ValueError(f"{name!r} is longer than {NAME_BYTES_MAX} bytes on the wire")
    return labels
