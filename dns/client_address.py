"""Who asked, as packed addresses."""

import socket
from typing import Final

_V4_MAPPED: Final = bytes(10) + b"\xff\xff"


def packed_address(host: str) -> bytes:
    """Of the host in a socket address, as `recvfrom` gives it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host.partition("%")[0])


def unmapped(address: bytes) -> bytes:
    """An IPv4 client of a socket for both families as the one host that it is."""
    return address.removeprefix(_V4_MAPPED)
