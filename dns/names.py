"""What a name under a zone asks for. Pure grammar: whether the thing exists is looked up later.

Names of the board hold no dots and start with a letter or digit, so a label that starts with
"_" can only be a protocol, a port or a service in the RFC 2782 forms, and forms never overlap.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

DEFAULT: Final = b"default"
"""`registry.DEFAULT_NAMESPACE`, spelt again: workers do without the registry's imports, which
are most of what a small worker would weigh."""
_HEX: Final = re.compile(rb"[0-9a-f]{8}|[0-9a-f]{32}")

_KINDS: Final = frozenset({b"service", b"instance", b"addr", b"ns"})

Labels = tuple[bytes, ...]


class Apex(NamedTuple):
    """The zone itself: SOA and NS."""


class NameServer(NamedTuple):
    """`ns.Z`: the server's own addresses, and the parent of the namespaces."""


class Address(NamedTuple):
    """`HEX.addr.Z`: 4 or 16 bytes spelt out in the name."""

    packed: bytes


class ServiceInstances(NamedTuple):
    """The instances of a service; `tag` None means all of them."""

    service: bytes
    tag: bytes | None = None


class OneInstance(NamedTuple):
    service: bytes
    id: bytes


class NamedPort(NamedTuple):
    """`_PORT._PROTO.SERVICE.service.Z`: SRV only, with the named port's number."""

    service: bytes
    port: bytes
    protocol: bytes


class ServiceLocation(NamedTuple):
    """`_SERVICE._PROTO.Z` (protocol) and `_SERVICE._TAG.service.Z` (tag): SRV only."""

    service: bytes
    protocol: bytes | None
    tag: bytes | None


class AboveService(NamedTuple):
    """An empty non-terminal that is there as long as the service is (RFC 8020)."""

    service: bytes


class AbovePorts(NamedTuple):
    """`_PROTO.SERVICE.service.Z`: there as long as the service has a named port of the kind."""

    service: bytes
    protocol: bytes


class AboveProtocol(NamedTuple):
    """`_PROTO.Z`: there as long as the namespace has a service of the protocol."""

    namespace: bytes
    protocol: bytes


class AboveNamespace(NamedTuple):
    """An empty non-terminal that is there as long as the namespace is."""

    namespace: bytes


class Nothing(NamedTuple):
    """No such name, whatever is registered."""


Asked = (
    Apex
    | NameServer
    | Address
    | ServiceInstances
    | OneInstance
    | NamedPort
    | ServiceLocation
    | AboveService
    | AbovePorts
    | AboveProtocol
    | AboveNamespace
    | Nothing
)


class Zones:
    """The zones served; names are matched by whole labels and the longest zone wins."""

    def __init__(self, zones: Iterable[Labels]) -> None:
        self._zones = frozenset(zones)
        self._lengths = sorted({len(zone) for zone in self._zones}, reverse=True)
        self._split = {one[-n:] for one in self._zones for n in self._lengths if n < len(one)}

    def is_split(self, zone: Labels) -> bool:
        """Whether names below the zone may be those of another one."""
        return zone in self._split

    def cut(self, labels: Labels) -> tuple[Labels, Labels] | None:
        """The labels below the zone, and the zone; None for a name outside of all."""
        for length in self._lengths:
            below = len(labels) - length
            if below >= 0 and labels[below:] in self._zones:
                return labels[:below], labels[below:]
        return None


def service_key(namespace: bytes, service: bytes) -> bytes:
    """How the copy of the board names a service; short for the default namespace."""
    return service if namespace == DEFAULT else service + b"." + namespace


def namespace_of(key: bytes) -> bytes:
    return key.partition(b".")[2] or DEFAULT


def read_name(below: Labels) -> Asked:
    """What the lower-case labels left of a zone ask for."""
    if not below:
        return Apex()
    if any(b"." in label for label in below):
        # A dot inside a label is no part of any name here, and would be one of service keys.
        return Nothing()
    if below[-1] != b"ns":
        return _in_namespace(below, DEFAULT)
    if len(below) == 1:
        return NameServer()
    namespace, rest = below[-2], below[:-2]
    return _in_namespace(rest, namespace) if rest else AboveNamespace(namespace)


def may_be_kind(label: bytes) -> bool:
    """Whether a lower-case label directly below a zone or a namespace may mean anything."""
    return label in _KINDS or label[:1] == b"_"


def _in_namespace(below: Labels, namespace: bytes) -> Asked:
    kind, rest = below[-1], below[:-1]
    if kind == b"service":
        return _service(rest, namespace)
    if kind == b"instance":
        return _instance(rest, namespace)
    if kind == b"addr":
        # Addresses are the same in every namespace, so they have one name only.
        return _address(rest) if namespace == DEFAULT else Nothing()
    if _marked(kind):
        if not rest:
            return AboveProtocol(namespace, kind[1:])
        if len(rest) == 1 and _marked(rest[0]):
            return ServiceLocation(service_key(namespace, rest[0][1:]), kind[1:], None)
    return Nothing()


def _service(rest: Labels, namespace: bytes) -> Asked:
    if not rest:
        return AboveNamespace(namespace)
    name, left = rest[-1], rest[:-1]
    if _marked(name):
        return _consul_location(left, name[1:], namespace)
    service = service_key(namespace, name)
    match left:
        case ():
            return ServiceInstances(service)
        case (protocol,) if _marked(protocol):
            return AbovePorts(service, protocol[1:])
        case (tag,):
            return ServiceInstances(service, tag)
        case (port, protocol) if _marked(port) and _marked(protocol):
            return NamedPort(service, port[1:], protocol[1:])
        case _:
            return Nothing()


def _consul_location(left: Labels, tag: bytes, namespace: bytes) -> Asked:
    if not left:
        return AboveNamespace(namespace)
    if len(left) == 1 and _marked(left[0]):
        # As in Consul, "_tcp" stands for no tag, so that plain RFC 2782 clients work.
        wanted = None if tag == b"tcp" else tag
        return ServiceLocation(service_key(namespace, left[0][1:]), None, wanted)
    return Nothing()


def _instance(rest: Labels, namespace: bytes) -> Asked:
    match rest:
        case ():
            return AboveNamespace(namespace)
        case (service,):
            return AboveService(service_key(namespace, service))
        case (instance_id, service):
            return OneInstance(service_key(namespace, service), instance_id)
        case _:
            return Nothing()


def _address(rest: Labels) -> Asked:
    if not rest:
        return AboveNamespace(DEFAULT)
    if len(rest) == 1 and _HEX.fullmatch(rest[0]):
        return Address(bytes.fromhex(rest[0].decode("ascii")))
    return Nothing()


def _marked(label: bytes) -> bool:
    return label[:1] == b"_" and len(label) > 1
