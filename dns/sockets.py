"""The sockets of the DNS front: bound once, by the registry process, so that a taken port is
found at once and waiting packets outlive a worker."""

import errno
import ipaddress
import socket
from typing import Final, NamedTuple

from .config import DnsConfig
from .errors import DnsFrontError

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


class DnsSockets(NamedTuple):
    """One TCP listener for all workers and one UDP socket for each, on the same port."""

    tcp: socket.socket
    udp: list[socket.socket]
    host: str
    port: int

    def close(self) -> None:
        for one in (self.tcp, *self.udp):
            one.close()


def bind_sockets(config: DnsConfig) -> DnsSockets:
    """Raises `CannotListen`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_DGRAM
        )[0]
        for _ in range(_EPHEMERAL_TRIES):
            try:
                return _bind(family, address, config.workers)
            except OSError as error:
                if config.port or error.errno != errno.EADDRINUSE:
                    raise
        raise CannotListen(f"DNS found no port that is free for both UDP and TCP on {config.host}")
    except OSError as error:
        place = f"{config.host}:{config.port}"
        if error.errno == errno.EADDRINUSE:
            reason = "another program is using that port"
        else:
            reason = error.strerror or str(error)
        raise CannotListen(f"DNS cannot listen on {place}: {reason}") from error


def is_wildcard(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_unspecified


def server_addresses(config: DnsConfig, host: str) -> list[bytes]:
    """What `ns.Z` answers, packed: as told, else the listening address, else the host's own."""
    texts = config.ns_addresses or (_host_addresses() if is_wildcard(host) else [host])
    return [ipaddress.ip_address(text.partition("%")[0]).packed for text in texts]


def _bind(family: int, address: tuple[object, ...], workers: int) -> DnsSockets:
    opened: list[socket.socket] = []
    try:
        tcp = socket.socket(family, socket.SOCK_STREAM)
        opened.append(tcp)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(address)
        tcp.listen(TCP_BACKLOG)
        tcp.setblocking(False)
        host, port = tcp.getsockname()[:2]
        for number in range(workers):
            udp = socket.socket(family, socket.SOCK_DGRAM)
            opened.append(udp)
            # The first is bound without sharing, so that nobody else's socket is joined (another
            # callboard's of the same user would be); then it is opened for our other workers.
            if number:
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            udp.bind((address[0], port, *address[2:]))
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, workers > 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
            udp.setblocking(False)
    except OSError:
        for one in opened:
            one.close()
        raise
    return DnsSockets(tcp, opened[1:], host, port)


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
