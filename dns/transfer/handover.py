"""How a DNS worker hands over what is not for it: transfers, and everything that is signed.

A socket pair of datagrams: a worker never waits on it, and what does not fit into it is lost, as
any packet may be. A TCP connection goes along as a descriptor, with what was read of it.
"""

import socket
from typing import Final, NamedTuple

import msgpack

from ..mmsg import Client

DATAGRAM_BYTES_MAX: Final = 128 * 1024
"""A message of 64 KiB and a read more of its connection."""
_FDS_MAX: Final = 1


class Handed(NamedTuple):
    """`data` is a packet from `client`, or the stream of `connection` from a message's start."""

    data: bytes
    client: Client | None
    connection: socket.socket | None


class HandOver:
    """The worker's end."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)  # `send_fds` and `recv_fds` pass no flags on
        self._end = end

    def packet(self, data: bytes, client: Client) -> bool:
        """False when the other end has no room: the packet is lost."""
        return self._send(data, client, [])

    def connection(self, data: bytes, connection: socket.socket) -> bool:
        """Ours is to be closed afterwards, whether it was taken or not."""
        return self._send(data, None, [connection.fileno()])

    def _send(self, data: bytes, client: Client | None, fds: list[int]) -> bool:
        packed = msgpack.packb((data, client))
        try:
            socket.send_fds(self._end, [packed], fds)
        except OSError:
            return False
        return True


def receive(end: socket.socket) -> Handed | None:
    """The next thing handed over to a non-blocking end; None when there is none now."""
    try:
        packed, fds, flags, _ = socket.recv_fds(end, DATAGRAM_BYTES_MAX, _FDS_MAX)
    except BlockingIOError:
        return None
    connection = socket.socket(fileno=fds[0]) if fds else None
    assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC), "a hand-over does not fit"
    data, client = msgpack.unpackb(packed, use_list=False)
    if client is None:
        return Handed(data, None, connection)
    address, ancillary = client
    return Handed(data, Client(address, list(ancillary)), None)
