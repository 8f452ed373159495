"""The sockets of the DNS front: bound once, by the registry process, so that a taken port is
found at once and waiting packets outlive a worker."""

import errno
import ipaddress
import socket
from typing import Any, Final, NamedTuple

from .config import DnsConfig
from .errors import DnsFrontError
from .succession import Inheritance, turn_away

TCP_BACKLOG: Final = 512
UDP_BUFFER_BYTES: Final = 4 * 2**20
"""Asked for, the kernel may give less: room for the packets of a worker that is starting."""
_EPHEMERAL_TRIES: Final = 16
"""A free TCP port may be taken for UDP; that it is so this many times in a row is no accident."""
_ROUTE_PROBES: Final = (
    (socket.AF_INET, "192.0.2.1"),
    (socket.AF_INET6, "2001:db8::1"),
)
"""Documentation addresses: connecting UDP to them sends nothing and tells the source address."""


class CannotListen(DnsFrontError):
    """The address or port is taken, not ours, or not allowed."""


class PortTaken(CannotListen):
    """Somebody listens at `address`, host and port; perhaps workers of ours."""

    def __init__(self, message: str, address: tuple[str, int]) -> None:
        super().__init__(message)
        self.address = address


class DnsSockets(NamedTuple):
    """One TCP listener for all workers and one UDP socket for each, on the same port."""

    tcp: socket.socket
    udp: list[socket.socket]
    host: str
    port: int

    def turn_away(self) -> None:
        """Get no new packets; what waits can still be read and answered."""
        for one in self.udp:
            turn_away(one)

    def close(self) -> None:
        for one in (self.tcp, *self.udp):
            one.close()


def bind_sockets(config: DnsConfig, inherited: Inheritance | None = None) -> DnsSockets:
    """New ones, as far as there are none `inherited`. Raises `CannotListen`."""
    address: tuple[Any, ...] = (config.host, config.port)
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_DGRAM
        )[0]
        for _ in range(_EPHEMERAL_TRIES):
            try:
                return _bind(family, address, config.workers, inherited or Inheritance())
            except OSError as error:
                if config.port or error.errno != errno.EADDRINUSE:
                    raise
        raise CannotListen(f"DNS found no port that is free for both UDP and TCP on {config.host}")
    except OSError as error:
        place = f"{config.host}:{config.port}"
        if error.errno == errno.EADDRINUSE:
            taken = f"DNS cannot listen on {place}: another program is using that port"
            raise PortTaken(taken, address[:2]) from error
        reason = error.strerror or str(error)
        raise CannotListen(f"DNS cannot listen on {place}: {reason}") from error


def is_wildcard(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_unspecified


def server_addresses(config: DnsConfig, host: str) -> list[bytes]:
    """What `ns.Z` answers, packed: as told, else the listening address, else the host's own."""
    texts = config.ns_addresses or (_host_addresses() if is_wildcard(host) else [host])
    return [ipaddress.ip_address(text.partition("%")[0]).packed for text in dict.fromkeys(texts)]


def _bind(
    family: int, address: tuple[object, ...], workers: int, inherited: Inheritance
) -> DnsSockets:
    tcp, udp = inherited.tcp, inherited.udp
    try:
        if not tcp:
            tcp.append(_listener(family, address))
        host, port = tcp[0].getsockname()[:2]
        if workers > 1:
            for one in udp:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        while len(udp) < workers:
            one = socket.socket(family, socket.SOCK_DGRAM)
            udp.append(one)
            # The first is bound without sharing, so that nobody else's socket is joined (another
            # callboard's of the same user would be); then it is opened for our other workers.
            if len(udp) > 1:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((address[0], port, *address[2:]))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, workers > 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
            one.setblocking(False)
    except OSError:
        for one in (*tcp, *udp):
            one.close()
        raise
    for one in (*tcp[1:], *udp[workers:]):  # of more workers than we have
        one.close()
    return DnsSockets(tcp[0], udp[:workers], host, port)


def _listener(family: int, address: tuple[object, ...]) -> socket.socket:
    tcp = socket.socket(family, socket.SOCK_STREAM)
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(address)
        tcp.listen(TCP_BACKLOG)
        tcp.setblocking(False)
    except OSError:
        tcp.close()
        raise
    return tcp


def _host_addresses() -> list[str]:
    found = []
    for family, target in _ROUTE_PROBES:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 53))
            except OSError:
                continue  # no route in this family
            found.append(probe.getsockname()[0])
    return found or ["127.0.0.1"]
