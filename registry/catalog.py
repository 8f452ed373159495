"""Who is on the board: instances by namespace, service and id, and what they add up to.

An instance is kept as the bytes that the engine stores (about 120 bytes of memory) and decoded
when it is asked for: decoded it takes 840, and decoding costs half a microsecond.
Sums that listings need (how many pass, which tags) are kept up to date change by change.
Entries and services hold nothing that could hold them: the collector does not track them, and
so never walks a million of them while everybody waits.
"""

import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from .departures import Departures
from .instance import HANDED_OUT, Instance, decode_instance
from .names import InstanceName
from .views import BoardTopic, ServicesTopic, ServiceSummary, ServiceTopic

PAGE_INSTANCES_MAX: Final = 1000
"""How many instances a listing decodes before other tasks get their turn: a few
milliseconds."""


class Entry(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One instance as stored, and when it was created and last changed."""

    value: bytes
    create_index: int
    modify_index: int

    @property
    def instance(self) -> Instance:
        return decode_instance(self.value)


class Departed(NamedTuple):
    """What a change took off the board."""

    entry: Entry
    instance: Instance


class Service(msgspec.Struct, eq=False, gc=False):
    """The instances of one service by folded id."""

    name: str
    entries: dict[str, Entry] = {}
    passing: int = 0
    tags: dict[str, int] | None = None
    modify_index: int = 0

    def count(self, instance: Instance, by: int) -> None:
        """Add (1) or take away (-1) what `instance` contributes to the sums."""
        if instance.status in HANDED_OUT:
            self.passing += by
        if not instance.tags:
            return
        tags = self.tags = {} if self.tags is None else self.tags
        for tag in instance.tags:
            # Interned, because the same few tags stand in a million services.
            tags[sys.intern(tag)] = tags.get(tag, 0) + by
            if not tags[tag]:
                del tags[tag]

    def summary(self) -> ServiceSummary:
        return ServiceSummary(self.name, len(self.entries), self.passing, sorted(self.tags or ()))


class Namespace:
    __slots__ = ("modify_index", "name", "services")

    def __init__(self, name: str) -> None:
        self.name = name
        self.services: dict[str, Service] = {}
        self.modify_index = 0


class Catalog:
    """Changes in, listings out. Names are folded; the spellings are those first written."""

    def __init__(self) -> None:
        self._namespaces: dict[str, Namespace] = {}
        self._gone: Departures[BoardTopic] = Departures()
        self._loaded_index = 0
        self._modify_index = 0
        self.instance_count = 0
        self.service_count = 0

    def loaded(self, index: int) -> None:
        """Say that all changes up to `index` have been loaded: which they were is not known."""
        self._loaded_index = self._modify_index = index
        self._gone.reset(index)

    def get(self, name: InstanceName) -> Entry | None:
        service = self.service(name.namespace, name.service)
        return None if service is None else service.entries.get(name.id)

    def service(self, namespace: str, service: str) -> Service | None:
        found = self._namespaces.get(namespace)
        return None if found is None else found.services.get(service)

    def spelled(self, name: InstanceName, instance: Instance) -> tuple[str, str, str]:
        """Namespace, service and id as first written; `instance` is how they are written now."""
        namespace = self._namespaces.get(name.namespace)
        if namespace is None:
            return instance.namespace, instance.service, instance.id
        service = namespace.services.get(name.service)
        if service is None:
            return namespace.name, instance.service, instance.id
        entry = service.entries.get(name.id)
        instance_id = instance.id if entry is None else entry.instance.id
        return namespace.name, service.name, instance_id

    def put(self, name: InstanceName, instance: Instance, entry: Entry) -> Departed | None:
        """Show `entry`, which decodes to `instance`; what it replaces, if anything."""
        namespace = self._namespaces.get(name.namespace)
        if namespace is None:
            namespace = self._namespaces[name.namespace] = Namespace(instance.namespace)
            self._gone.came_back(ServicesTopic(name.namespace))
        service = namespace.services.get(name.service)
        if service is None:
            spelling = name.service if name.service == instance.service else instance.service
            service = namespace.services[name.service] = Service(spelling)
            self.service_count += 1
            self._gone.came_back(ServiceTopic(name.namespace, name.service))
        replaced = service.entries.get(name.id)
        last = None if replaced is None else Departed(replaced, replaced.instance)
        if last is None:
            self.instance_count += 1
        else:
            service.count(last.instance, -1)
        service.entries[name.id] = entry
        service.count(instance, 1)
        self._touch(namespace, service, entry.modify_index)
        return last

    def remove(self, name: InstanceName, index: int) -> Departed | None:
        """Take an instance off; what it was, or None when it was not there."""
        namespace = self._namespaces.get(name.namespace)
        service = None if namespace is None else namespace.services.get(name.service)
        if namespace is None or service is None:
            return None
        removed = service.entries.pop(name.id, None)
        if removed is None:
            return None
        last = Departed(removed, removed.instance)
        self.instance_count -= 1
        service.count(last.instance, -1)
        self._touch(namespace, service, index)
        if not service.entries:
            del namespace.services[name.service]
            self.service_count -= 1
            self._gone.went(ServiceTopic(name.namespace, name.service), index)
            if not namespace.services:
                del self._namespaces[name.namespace]
                self._gone.went(ServicesTopic(name.namespace), index)
        return last

    def modify_index(self, topic: BoardTopic) -> int:
        """When what `topic` names last changed; never too low, after a restart perhaps too high."""
        if topic == ServicesTopic(None):
            return self._modify_index
        namespace = self._namespaces.get(topic.namespace or "")
        known: Namespace | Service | None = namespace
        if namespace is not None and isinstance(topic, ServiceTopic):
            known = namespace.services.get(topic.service)
        if known is None:
            return self._gone.index(topic)
        return max(known.modify_index, self._loaded_index)

    def summaries(self, namespace: str) -> Iterator[ServiceSummary]:
        """The services of a namespace; each as it is when it is reached."""
        found = self._namespaces.get(namespace)
        for key in () if found is None else list(found.services):
            service = self.service(namespace, key)
            if service is not None:
                yield service.summary()

    def pages(self, topic: BoardTopic) -> Iterator[list[tuple[InstanceName, Entry]]]:
        """What `topic` names, in pages; each as it is when it is reached."""
        if isinstance(topic, ServiceTopic):
            yield from self._service_pages(topic.namespace, topic.service)
            return
        namespaces = list(self._namespaces) if topic.namespace is None else [topic.namespace]
        page: list[tuple[InstanceName, Entry]] = []
        for namespace in namespaces:
            found = self._namespaces.get(namespace)
            for service in () if found is None else list(found.services):
                for part in self._service_pages(namespace, service):
                    page += part
                    if len(page) >= PAGE_INSTANCES_MAX:
                        yield page
                        page = []
        if page:
            yield page

    def _service_pages(
        self, namespace: str, service: str
    ) -> Iterator[list[tuple[InstanceName, Entry]]]:
        found = self.service(namespace, service)
        if found is None:
            return
        entries = list(found.entries.items())
        for start in range(0, len(entries), PAGE_INSTANCES_MAX):
            yield [
                (InstanceName(namespace, service, key), entry)
                for key, entry in entries[start : start + PAGE_INSTANCES_MAX]
            ]

    def _touch(self, namespace: Namespace, service: Service, index: int) -> None:
        service.modify_index = index
        namespace.modify_index = index
        self._modify_index = index
