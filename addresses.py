"""Network addresses as people write them: `HOST:PORT`, an IPv6 host in brackets."""

import ipaddress
import re
from typing import Final, NamedTuple

PORT_MAX: Final = 65535
HOST_CHARS_MAX: Final = 253
"""A domain name as text (RFC 1035 section 2.3.4 less the length bytes)."""

_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\.?", re.ASCII)
_ADDRESS: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):(\d{1,5})", re.ASCII)


class Address(NamedTuple):
    """A host name or IP address, without brackets, and a port; `str()` is `HOST:PORT` again."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this host reaches it; of names only `localhost` is known to be."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, port_min: int = 1) -> Address:
    """`port_min` 0 lets the system choose a port. Raises `ValueError` that says what to write."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not HOST:PORT: write 127.0.0.1:8500 or [::1]:8500")
    host, port = found[1] or found[2], int(found[3])
    if not port_min <= port <= PORT_MAX:
        raise ValueError(f"{text!r} has no port from {port_min} to {PORT_MAX}")
    if not (_is_ipv6(host) if found[1] else _is_host(host)):
        raise ValueError(f"{host!r} is no IP address and no host name: write 127.0.0.1 or [::1]")
    return Address(host, port)


def parse_ip(text: str) -> str:
    """The address of one host, in its usual form. Raises `ValueError` that says what to write."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} is no IP address: write 192.0.2.1 or 2001:db8::1") from error
    if address.is_unspecified or getattr(address, "scope_id", None):
        raise ValueError(f"{text!r} is nothing that others could reach: write 192.0.2.1")
    return str(address)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _is_host(host: str) -> bool:
    if len(host) > HOST_CHARS_MAX or _HOST.fullmatch(host) is None:
        return False
    if host.replace(".", "").isdigit():
        # `1.2.3` and `256.0.0.1` are slips of the hand; the system would read them its own way.
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return False
    return True
