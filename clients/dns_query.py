"""One DNS question to one server: UDP, and TCP when the answer did not fit (RFC 1035, 7766)."""

import secrets
import socket
import struct
from time import monotonic
from typing import Final, NamedTuple

from dnslib import QTYPE, RCODE, DNSError, DNSHeader, DNSQuestion, DNSRecord

from ..addresses import Address

TRIES: Final = 3
"""Datagrams may be lost; after as many the server is taken for absent."""
UDP_BYTES_MAX: Final = 4096
NAME_CHARS_MAX: Final = 253
TYPES: Final = ("A", "AAAA", "SRV", "TXT", "ANY")


class NoDnsAnswer(Exception):
    """Nothing that answers the question came in time; says why."""


class BadName(ValueError):
    """The text cannot be a domain name."""


class Record(NamedTuple):
    """One record in presentation format; `ttl` is in seconds."""

    name: str
    ttl: int
    type: str
    data: str


class DnsAnswer(NamedTuple):
    """`rcode` is `NOERROR`, `NXDOMAIN`, `REFUSED`, ..."""

    rcode: str
    records: list[Record]


def ask(server: Address, name: str, qtype: str, timeout_s: float) -> DnsAnswer:
    """Raises `NoDnsAnswer`, `BadName`."""
    query = _query(name, qtype)
    deadline = monotonic() + timeout_s
    try:
        answer = _over_udp(server, query, deadline)
        if answer.header.tc:
            answer = _over_tcp(server, query, deadline)
    except TimeoutError as error:
        raise NoDnsAnswer(f"{server} did not answer within {timeout_s:g} s") from error
    except OSError as error:
        raise NoDnsAnswer(f"{server}: {(error.strerror or str(error)).lower()}") from error
    return _read(answer)


def _query(name: str, qtype: str) -> DNSRecord:
    labels = name.removesuffix(".").split(".")
    if len(name) > NAME_CHARS_MAX or not all(0 < len(label) <= 63 for label in labels):
        raise BadName(f"{name!r} is no domain name: labels have 1-63 characters, 253 in all")
    if not name.isascii() or not name.isprintable():
        raise BadName(f"{name!r} is no domain name: write it in ASCII")
    header = DNSHeader(id=secrets.randbelow(1 << 16), rd=1)
    return DNSRecord(header, q=DNSQuestion(name, getattr(QTYPE, qtype)))


def _over_udp(server: Address, query: DNSRecord, deadline: float) -> DNSRecord:
    family, _, _, _, address = socket.getaddrinfo(*server, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(address)  # the kernel then drops what others send
        for tries_left in range(TRIES, 0, -1):
            now = monotonic()
            sock.send(query.pack())
            answer = _matching(sock, query, now + (deadline - now) / tries_left)
            if answer is not None:
                return answer
    raise TimeoutError


def _matching(sock: socket.socket, query: DNSRecord, until: float) -> DNSRecord | None:
    """The first datagram that answers the question; others are guesses of an attacker."""
    while (left_s := until - monotonic()) > 0:
        sock.settimeout(left_s)
        try:
            answer = _parsed(sock.recv(UDP_BYTES_MAX), query)
        except TimeoutError:
            return None
        if answer is not None:
            return answer
    return None


def _over_tcp(server: Address, query: DNSRecord, deadline: float) -> DNSRecord:
    with socket.create_connection(server, _left_s(deadline)) as sock:
        message = bytes(query.pack())
        sock.sendall(struct.pack("!H", len(message)) + message)
        (size_bytes,) = struct.unpack("!H", _receive(sock, 2, deadline))
        answer = _parsed(_receive(sock, size_bytes, deadline), query)
    if answer is None:
        raise NoDnsAnswer(f"{server} answered another question over TCP")
    return answer


def _receive(sock: socket.socket, size_bytes: int, deadline: float) -> bytes:
    received = b""
    while len(received) < size_bytes:
        sock.settimeout(_left_s(deadline))
        chunk = sock.recv(size_bytes - len(received))
        if not chunk:
            raise ConnectionResetError("the connection was closed within the answer")
        received += chunk
    return received


def _left_s(deadline: float) -> float:
    left_s = deadline - monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _parsed(message: bytes, query: DNSRecord) -> DNSRecord | None:
    """None unless it is an answer to `query`: same id, same question."""
    try:
        answer = DNSRecord.parse(message)
    except (DNSError, ValueError, IndexError):
        return None
    if not answer.header.qr or answer.header.id != query.header.id:
        return None
    return answer if answer.questions == query.questions else None


def _read(answer: DNSRecord) -> DnsAnswer:
    records = [
        Record(str(rr.rname), rr.ttl, QTYPE.get(rr.rtype), str(rr.rdata)) for rr in answer.rr
    ]
    return DnsAnswer(RCODE.get(answer.header.rcode), records)
