"""Who may have a zone and who is told when it changes, and by which keys all prove themselves."""

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

from ...addresses import parse_address
from .keys import key_name

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Grant(NamedTuple):
    """`key` is a name on the wire; without one, any valid signature or none will do."""

    network: Network
    key: bytes | None


class Target(NamedTuple):
    """A secondary. `key` is a name on the wire; None: not signed."""

    host: str
    port: int
    key: bytes | None


def parse_grant(text: str) -> Grant:
    """`ADDR` or `CIDR`, then `,key:NAME` if signed only. Raises `ValueError` with what to write."""
    place, key = split_key(text)
    try:
        return Grant(ipaddress.ip_network(place), key)
    except ValueError as error:
        raise ValueError(
            f"{text!r}: {error}: write an address or a network, for example"
            " 192.0.2.0/24,key:transfer"
        ) from None


def parse_target(text: str) -> Target:
    """`ADDR:PORT`, then `,key:NAME` if signed. Raises `ValueError` with what to write."""
    place, key = split_key(text)
    address = parse_address(place)
    try:
        return Target(str(ipaddress.ip_address(address.host)), address.port, key)
    except ValueError:
        raise ValueError(f"{text!r}: a secondary is told at an IP address, not a name") from None


def split_key(text: str) -> tuple[str, bytes | None]:
    """What stands before `,key:NAME`, and the key's name on the wire. Raises `ValueError`."""
    place, comma, rest = text.partition(",")
    if not comma:
        return place, None
    name = rest.removeprefix("key:")
    if name == rest or not name:
        raise ValueError(f"{text!r}: after the comma stands key:NAME, a key of --dns-tsig-key")
    return place, key_name(name)


def may_have(grants: Sequence[Grant], host: str, key: bytes | None) -> bool:
    """Whether somebody at `host` whose request was signed with `key` is granted transfers."""
    address = address_of(host)
    return any(
        address.version == grant.network.version
        and address in grant.network
        and grant.key in (None, key)
        for grant in grants
    )


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4 client of a socket for both families is what it is, not the IPv6 form of it."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
