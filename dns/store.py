"""A DNS worker's copy of the board: packed records by service, small enough for millions.

Most services have few instances, so a service is its only record, or a tuple of them; only a
large one gets dicts. The garbage collector tracks none of the former, and a million services of
one instance cost their bytes and one dict slot each.
"""

from collections.abc import Callable, Collection
from typing import Final

from .crowd import Crowd
from .names import namespace_of, service_key
from .record import facets_of, is_handed_out, prefix_of, protocol_of, tag_facet, unpack_record
from .reverse import ReverseIndex
from .wire import LABEL_BYTES_MAX

SMALL_MAX: Final = 16
"""Up to here reading the tuple is as quick as dicts, at a fraction of the memory."""

Held = bytes | tuple[bytes, ...] | Crowd
"""A service: its only record, its few, or many."""
HeldOf = Callable[[bytes], Held | None]


class Store:
    """Records by service key (`names.service_key`) and instance id."""

    def __init__(self, reverse: ReverseIndex | None = None) -> None:
        """With `reverse`, addresses can be looked up too, which costs memory for each."""
        self.reverse = reverse
        self.instances = 0
        self._services: dict[bytes, Held] = {}
        self.held_of: HeldOf = self._services.get
        self._namespaces: dict[bytes, int] = {}
        self._protocols: dict[bytes, int] = {}
        """How many instances speak each, by `service_key` of namespace and protocol."""

    @property
    def services(self) -> int:
        return len(self._services)

    def has_service(self, key: bytes) -> bool:
        return key in self._services

    def has_namespace(self, namespace: bytes) -> bool:
        return namespace in self._namespaces

    def has_protocol(self, namespace: bytes, protocol: bytes) -> bool:
        return service_key(namespace, protocol) in self._protocols

    def is_crowd(self, key: bytes) -> bool:
        return isinstance(self._services.get(key), Crowd)

    def find(self, key: bytes, facet: bytes | None = None) -> tuple[bool, Collection[bytes]]:
        """Whether the service has an instance with the facet, and those that are handed out."""
        held = self._services.get(key)
        if held is None:
            return False, ()
        if isinstance(held, Crowd):
            return held.find(facet)
        few = _few(held)
        if facet is not None:
            few = tuple(one for one in few if facet in facets_of(unpack_record(one)))
        return bool(few), [one for one in few if is_handed_out(one)]

    def may_have_tag(self, key: bytes, tag: bytes) -> bool:
        """Cheaper than `find`: False is certain, True wants a closer look."""
        held = self._services.get(key)
        if held is None:
            return False
        if isinstance(held, Crowd):
            return held.find(tag_facet(tag))[0]
        return any(tag in record for record in _few(held))

    def one(self, key: bytes, instance_id: bytes) -> bytes | None:
        """The record of one instance, handed out or not."""
        if not 0 < len(instance_id) <= LABEL_BYTES_MAX:
            return None
        prefix = bytes((len(instance_id),)) + instance_id
        held = self._services.get(key)
        if held is None:
            return None
        if isinstance(held, Crowd):
            return held.get(prefix)
        return next((record for record in _few(held) if record.startswith(prefix)), None)

    def apply(self, key: bytes, record: bytes) -> None:
        """Put a record in, or take one out when it is nothing but the id's prefix."""
        prefix = prefix_of(record)
        held = self._services.get(key)
        before = None if held is None else self.one(key, prefix[1:])
        left = record if len(record) > len(prefix) else None
        self.count_protocols(key, before, left)
        if self.reverse is not None:
            self.reverse.put(key, prefix, before, left)
        if len(record) == len(prefix):
            if held is not None:
                self._remove(key, held, prefix)
        elif held is None:
            self._services[key] = record
            self.instances += 1
            namespace = namespace_of(key)
            self._namespaces[namespace] = self._namespaces.get(namespace, 0) + 1
        else:
            count = _count(held)
            added = self._services[key] = _added(held, prefix, record)
            self.instances += _count(added) - count

    def count_protocols(self, key: bytes, before: bytes | None, record: bytes | None) -> None:
        """An instance's record has become another; None stands for none."""
        old = protocol_of(before) if before else None
        new = protocol_of(record) if record else None
        if old == new:
            return
        namespace = namespace_of(key)
        for protocol, by in ((old, -1), (new, 1)):
            if protocol is None:
                continue
            name = service_key(namespace, protocol)
            count = self._protocols.get(name, 0) + by
            if count:
                self._protocols[name] = count
            else:
                del self._protocols[name]

    def _remove(self, key: bytes, held: Held, prefix: bytes) -> None:
        before = _count(held)
        left = _without(held, prefix)
        self.instances += _count(left) - before
        if left:
            self._services[key] = left
            return
        del self._services[key]
        namespace = namespace_of(key)
        self._namespaces[namespace] -= 1
        if not self._namespaces[namespace]:
            del self._namespaces[namespace]


def _few(held: bytes | tuple[bytes, ...]) -> tuple[bytes, ...]:
    return (held,) if isinstance(held, bytes) else held


def _count(held: Held) -> int:
    return 1 if isinstance(held, bytes) else len(held)


def _added(held: Held, prefix: bytes, record: bytes) -> Held:
    if isinstance(held, Crowd):
        held.put(record)
        return held
    others = tuple(other for other in _few(held) if not other.startswith(prefix))
    if not others:
        return record
    if len(others) < SMALL_MAX:
        return (*others, record)
    crowd = Crowd()
    for one in (*others, record):
        crowd.put(one)
    return crowd


def _without(held: Held, prefix: bytes) -> Held:
    if isinstance(held, Crowd):
        held.remove(prefix)
        # Well below the size at which it became one, so that it does not flap.
        return held if len(held) > SMALL_MAX // 2 else tuple(held)
    left = tuple(other for other in _few(held) if not other.startswith(prefix))
    return left[0] if len(left) == 1 else left
