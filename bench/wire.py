"""Just enough DNS to see that a server answers, and answers the same as the others."""

import socket
import struct
from typing import NamedTuple

from .ports import HOST

A, SRV = 1, 33
_ID = 0x1234
_ANSWER_BYTES_MAX = 65535


class Shape(NamedTuple):
    """What must be equal between servers for their CPU time to be comparable."""

    rcode: int
    answers: int
    authority: int
    additional: int
    size_bytes: int


def query(name: str, qtype: int = A, edns: bool = False) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0) if edns else b""
    header = struct.pack("!6H", _ID, 0, 1, 0, 0, int(edns))
    return header + labels + b"\0" + struct.pack("!2H", qtype, 1) + opt


def asker(port: int, timeout_s: float) -> socket.socket:
    client = socket.socket(type=socket.SOCK_DGRAM)
    client.settimeout(timeout_s)
    client.connect((HOST, port))
    return client


def ask(port: int, packet: bytes, timeout_s: float = 0.2) -> bytes | None:
    """The answer, or None when none came."""
    with asker(port, timeout_s) as client:
        try:
            client.send(packet)
            return client.recv(_ANSWER_BYTES_MAX)
        except OSError:  # silence, or nobody listens yet
            return None


def shape(answer: bytes) -> Shape:
    _id, flags, _questions, answers, authority, additional = struct.unpack("!6H", answer[:12])
    return Shape(flags & 15, answers, authority, additional, len(answer))
