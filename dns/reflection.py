"""Packets whose reply could only hurt: from port 0, or from our own address and port.

Nobody can receive at port 0, and a reply to ourselves would be read as a query: forged packets
of both kinds are how servers are made to talk to themselves or to each other.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

IsOwn = Callable[[Sequence[Any], bytes], bool]

_IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8)
_IPV6_PKTINFO: Final = getattr(socket, "IPV6_PKTINFO", 50)


def own_source(udp: socket.socket) -> IsOwn:
    """Judges source addresses of packets that came to `udp`.

    With a wildcard socket our addresses are not known, but the packet's destination is one of
    them; it is given packed, empty where it is not known.
    """
    host, port = udp.getsockname()[:2]
    own = _packed(host)
    is_wildcard = not any(own)

    def is_own(source: Sequence[Any], destination: bytes) -> bool:
        if source[1] == 0:
            return True
        if source[1] != port:
            return False
        packed = _packed(source[0])
        if not is_wildcard:
            return packed == own
        return packed == destination or ipaddress.ip_address(packed).is_loopback

    return is_own


def destination_of(ancillary: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The packed address that was asked, from IP_PKTINFO or IPV6_PKTINFO."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            return data[8:12]  # in_pktinfo: interface, our address on it, the header's destination
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
            return data[:16]
    return b""


def _packed(host: str) -> bytes:
    return ipaddress.ip_address(host.partition("%")[0]).packed
