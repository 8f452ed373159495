"""From addresses back to names: zones below in-addr.arpa and ip6.arpa (RFC 1035 section 3.5,
RFC 3596 section 2.5), and the registered addresses in order, so that nothing is searched for."""

import ipaddress
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from sortedcontainers import SortedDict

from .names import DEFAULT, Labels, namespace_of
from .record import address_of

NAMES_MAX: Final = 32
"""PTR records of one address: a host of a thousand instances has no thousand names that anybody
would read, and must not have an answer that goes over TCP each time."""

_IN_ADDR: Final = (b"in-addr", b"arpa")
_IP6: Final = (b"ip6", b"arpa")
_NIBBLES: Final = {b"%x" % nibble: nibble for nibble in range(16)}
_OCTETS: Final = {b"%d" % octet: octet for octet in range(256)}

Owners = bytes | dict[bytes, None]


class Range(NamedTuple):
    """Addresses that begin alike; `whole` if it is one, and the name therefore its name."""

    low: bytes
    high: bytes
    whole: bool


class ReverseIndex:
    """Registered addresses, and whose they are: an id with its length, and the service key."""

    def __init__(self) -> None:
        self._owners: SortedDict[bytes, Owners] = SortedDict()

    def put(self, key: bytes, prefix: bytes, before: bytes | None, record: bytes | None) -> None:
        """An instance's record has become another; None stands for none."""
        old = address_of(before) if before else None
        new = address_of(record) if record else None
        if old == new:
            return
        if old is not None:
            self._remove(old, prefix + key)
        if new is not None:
            self._add(new, prefix + key)

    def has(self, asked: Range) -> bool:
        """Whether any address in the range is registered."""
        return next(self._owners.irange(asked.low, asked.high), None) is not None

    def names(self, address: bytes) -> Iterator[Labels]:
        """Of those at the address, up to `NAMES_MAX`."""
        owners = self._owners.get(address, ())
        for owner in islice((owners,) if isinstance(owners, bytes) else owners, NAMES_MAX):
            start = owner[0] + 1
            yield name_of(owner[1:start], owner[start:])

    def _add(self, address: bytes, owner: bytes) -> None:
        owners = self._owners.get(address)
        if owners is None:
            self._owners[address] = owner
        elif isinstance(owners, bytes):
            self._owners[address] = {owners: None, owner: None}
        else:
            owners[owner] = None

    def _remove(self, address: bytes, owner: bytes) -> None:
        owners = self._owners[address]
        if isinstance(owners, bytes):
            del self._owners[address]
            return
        del owners[owner]
        if len(owners) == 1:
            self._owners[address] = next(iter(owners))


def name_of(instance_id: bytes, key: bytes) -> Labels:
    """`ID.SERVICE.instance[.NAMESPACE.ns]` of an instance of the service with this key."""
    names = (instance_id, key.partition(b".")[0], b"instance")
    namespace = namespace_of(key)
    return names if namespace == DEFAULT else (*names, namespace, b"ns")


def reverse_labels(packed: bytes) -> Labels:
    """The name of an address, `1.0.0.10.in-addr.arpa` or nibbles below `ip6.arpa`."""
    if len(packed) == 4:
        return (*(b"%d" % octet for octet in reversed(packed)), *_IN_ADDR)
    nibbles = (b"%x" % nibble for octet in reversed(packed) for nibble in (octet & 15, octet >> 4))
    return (*nibbles, *_IP6)


def range_of(labels: Labels) -> Range | None:
    """The addresses that a name in a reverse tree stands for; None when it stands for none."""
    if labels[-2:] == _IN_ADDR:
        return _range([_OCTETS.get(label) for label in labels[-3::-1]], 4, 8)
    if labels[-2:] == _IP6:
        return _range([_NIBBLES.get(label) for label in labels[-3::-1]], 32, 4)
    return None


def _range(digits: list[int | None], count: int, bits: int) -> Range | None:
    if len(digits) > count:
        return None
    number = 0
    for digit in digits:
        if digit is None:
            return None
        number = number << bits | digit
    left = (count - len(digits)) * bits
    size_bytes = count * bits // 8
    low = (number << left).to_bytes(size_bytes, "big")
    high = (number << left | (1 << left) - 1).to_bytes(size_bytes, "big")
    return Range(low, high, not left)


def parse_reverse_zone(text: str) -> str:
    """The zone of a network (`10.0.0.0/8`), or one that is named itself, in lower case.

    Raises `ValueError`.
    """
    if "/" in text:
        return _zone_of_network(text)
    zone = text.strip().lower().removesuffix(".")
    labels = tuple(zone.encode("ascii", "replace").split(b"."))
    if range_of(labels) is None or len(labels) < 3:
        raise ValueError(
            f"{text!r} is no zone of addresses: write a network, for example 10.0.0.0/8, or its"
            " zone, for example 10.in-addr.arpa"
        )
    return zone


def _zone_of_network(text: str) -> str:
    network = ipaddress.ip_network(text.strip())
    step = 8 if network.version == 4 else 4
    count, odd = divmod(network.prefixlen, step)
    if odd or not count:
        raise ValueError(f"{text!r}: the zone of a network ends at a multiple of {step} bits")
    pieces = network.network_address.reverse_pointer.split(".")
    return ".".join(pieces[network.max_prefixlen // step - count :])
