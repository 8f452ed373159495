"""Names that differ in their first label alone: what one is answered tells what the others are.

A million services are a million names, and a random-subdomain attack has a new one in every
packet, so that remembering replies by name helps neither. But all of them are read, looked up
and written alike, except for one label. Here stands, for each kind of name that there may be
many of, the short way from that label to the records.
"""

from binascii import hexlify
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from . import wire
from .instances import record_head
from .names import (
    Asked,
    Labels,
    Nothing,
    OneInstance,
    ServiceInstances,
    may_be_kind,
    namespace_of,
    service_key,
)
from .record import HOST, IPV4, IPV6, WITHHELD
from .store import Held, HeldOf, Store

Sibling = tuple[bool, Sequence[bytes], Sequence[bytes], bytes]
"""Whether the name exists, its records, what `Found.glue` holds for each (or nothing at all),
and the service they are of. A plain tuple, because one is made for every query."""

ABSENT: Final[Sibling] = (False, (), (), b"")

FindSibling = Callable[[bytes], Sibling | None]
"""From a first label in lower case; None where it takes a closer look."""

_ADDRESS_TYPES: Final = {wire.A: (IPV4, 4), wire.AAAA: (IPV6, 16)}


class _Target(NamedTuple):
    """What a SRV record has around its numbers and the address that its target spells."""

    head: bytes
    label_length: bytes
    suffix: bytes
    glue_head: bytes
    size: int


def sibling_finder(
    store: Store, asked: Asked, below: Labels, zone: Labels, qtype: int, ttl_s: int
) -> FindSibling | None:
    """How to find the siblings of `asked`, which stands at `below` in `zone`."""
    match asked:
        case ServiceInstances(service, None):
            suffix = service_key(namespace_of(service), b"")
            if qtype in _ADDRESS_TYPES:
                kind, size = _ADDRESS_TYPES[qtype]
                head = record_head(qtype, ttl_s, size)
                return _addresses(store.held_of, suffix, kind, head, 7 + size)
            if qtype == wire.SRV:
                return _locations(store.held_of, suffix, _targets(zone, ttl_s))
            return partial(_service, store.held_of, suffix)
        case ServiceInstances(service):
            return partial(_tag, store, service)
        case OneInstance(service):
            return partial(_instance, store, service)
        case Nothing() if len(below) == 1:
            return _kind
        case Nothing() if not may_be_kind(below[-1]):
            return _nothing
    return None


def _addresses(
    held_of: HeldOf, suffix: bytes, kind: int, head: bytes, address_end: int
) -> FindSibling:
    """A or AAAA of a service."""

    def find(label: bytes) -> Sibling | None:
        service = label + suffix
        few = held_of(service)
        if type(few) is bytes:
            few = (few,)
        elif type(few) is not tuple:
            return _denied(few, label)
        records = []
        for record in few:
            start = record[0] + 1
            if record[start] == kind:
                records.append(head + record[start + 7 : start + address_end])
            elif record[start] == HOST:
                return None  # it may be an alias
        if b"." in label or (len(records) > 1 and len(set(records)) < len(records)):
            return None
        return True, records, (), service

    return find


def _locations(held_of: HeldOf, suffix: bytes, targets: dict[int, _Target]) -> FindSibling:
    """SRV of a service whose instances have an IP address each, and a port."""

    def find(label: bytes) -> Sibling | None:
        service = label + suffix
        few = held_of(service)
        if type(few) is bytes:
            few = (few,)
        elif type(few) is not tuple:
            return _denied(few, label)
        records, glue = [], []
        for record in few:
            start = record[0] + 1
            target = targets.get(record[start])
            if target is None:
                if record[start] & WITHHELD:
                    continue
                return None
            head, label_length, zone, glue_head, size = target
            # Priority, weight and port stand in a record in the order of a SRV.
            numbers, address = record[start + 1 : start + 7], record[start + 7 : start + size]
            if numbers[4:] == b"\0\0":
                return None
            records.append(b"".join((head, numbers, label_length, hexlify(address), zone)))
            glue.append(glue_head + address)
        if b"." in label or (len(glue) > 1 and len(set(glue)) < len(glue)):
            return None
        return True, records, glue, service

    return find


def _targets(zone: Labels, ttl_s: int) -> dict[int, _Target]:
    suffix = wire.name_bytes((b"addr", *zone))
    targets = {}
    for rtype, (kind, size) in _ADDRESS_TYPES.items():
        head = record_head(wire.SRV, ttl_s, 6 + 1 + 2 * size + len(suffix))
        glue_head = record_head(rtype, ttl_s, size)[len(wire.QNAME_POINTER) :]
        targets[kind] = _Target(head, bytes((2 * size,)), suffix, glue_head, 7 + size)
    return targets


def _service(held_of: HeldOf, suffix: bytes, label: bytes) -> Sibling | None:
    return _denied(held_of(label + suffix), label)


def _denied(held: Held | None, label: bytes) -> Sibling | None:
    return None if held is not None or label[:1] == b"_" else ABSENT


def _instance(store: Store, service: bytes, label: bytes) -> Sibling | None:
    return ABSENT if store.one(service, label) is None else None


def _tag(store: Store, service: bytes, label: bytes) -> Sibling | None:
    return None if label[:1] == b"_" or store.may_have_tag(service, label) else ABSENT


def _kind(label: bytes) -> Sibling | None:
    return None if may_be_kind(label) else ABSENT


def _nothing(_label: bytes) -> Sibling | None:
    """Below what means nothing, nothing means anything."""
    return ABSENT
