"""A DNS worker's copy of the board: packed records by service, small enough for millions.

Most services have few instances, so a service is its only record, or a tuple of them; only a
large one gets a dict by id. None of these values is tracked by the garbage collector, and a
million services of one instance cost their bytes and one dict slot each.
"""

from collections.abc import Collection
from typing import Final

from .names import namespace_of
from .wire import LABEL_BYTES_MAX

SMALL_MAX: Final = 16
"""Up to here a scan of the tuple is as quick as a dict, at a fraction of the memory."""

Held = bytes | tuple[bytes, ...] | dict[bytes, bytes]


class Store:
    """Records by service key (`names.service_key`) and instance id."""

    def __init__(self) -> None:
        self.instances = 0
        self._services: dict[bytes, Held] = {}
        self._namespaces: dict[bytes, int] = {}

    @property
    def services(self) -> int:
        return len(self._services)

    def has_service(self, key: bytes) -> bool:
        return key in self._services

    def has_namespace(self, namespace: bytes) -> bool:
        return namespace in self._namespaces

    def records(self, key: bytes) -> Collection[bytes]:
        held = self._services.get(key, ())
        if isinstance(held, bytes):
            return (held,)
        return held.values() if isinstance(held, dict) else held

    def record(self, key: bytes, instance_id: bytes) -> bytes | None:
        if not 0 < len(instance_id) <= LABEL_BYTES_MAX:
            return None
        prefix = bytes((len(instance_id),)) + instance_id
        held = self._services.get(key, ())
        if isinstance(held, dict):
            return held.get(prefix)
        for record in (held,) if isinstance(held, bytes) else held:
            if record.startswith(prefix):
                return record
        return None

    def apply(self, key: bytes, record: bytes) -> None:
        """Put a record in, or take one out when it is nothing but the id's prefix."""
        prefix = record[: record[0] + 1]
        held = self._services.get(key)
        if len(record) == len(prefix):
            if held is not None:
                self._remove(key, held, prefix)
        elif held is None:
            self._services[key] = record
            self.instances += 1
            namespace = namespace_of(key)
            self._namespaces[namespace] = self._namespaces.get(namespace, 0) + 1
        else:
            self._services[key] = self._added(held, prefix, record)

    def _added(self, held: Held, prefix: bytes, record: bytes) -> Held:
        if isinstance(held, dict):
            self.instances += prefix not in held
            held[prefix] = record
            return held
        few = (held,) if isinstance(held, bytes) else held
        others = tuple(other for other in few if not other.startswith(prefix))
        self.instances += len(others) == len(few)
        if not others:
            return record
        if len(others) < SMALL_MAX:
            return (*others, record)
        return {other[: other[0] + 1]: other for other in (*others, record)}

    def _remove(self, key: bytes, held: Held, prefix: bytes) -> None:
        left: Held
        if isinstance(held, dict):
            self.instances -= held.pop(prefix, None) is not None
            # Well below the size at which it became one, so that it does not flap.
            left = tuple(held.values()) if len(held) <= SMALL_MAX // 2 else held
        else:
            few = (held,) if isinstance(held, bytes) else held
            left = tuple(other for other in few if not other.startswith(prefix))
            self.instances -= len(left) != len(few)
        if isinstance(left, tuple) and len(left) == 1:
            left = left[0]
        if left:
            self._services[key] = left
        else:
            del self._services[key]
            self._leave_namespace(namespace_of(key))

    def _leave_namespace(self, namespace: bytes) -> None:
        self._namespaces[namespace] -= 1
        if not self._namespaces[namespace]:
            del self._namespaces[namespace]
