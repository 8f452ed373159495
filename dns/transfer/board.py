"""The copy of the board that transfers are made from, and how it came to be what it is.

A service is a tuple that is never changed, only replaced, so that keeping a moment of the whole
board is one copy of a dict, and keeping what a service was is one reference. Changes wait until
somebody wants to know; then all of them become one step of the history.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ..names import namespace_of
from ..record import prefix_of
from ..reverse import ReverseIndex
from ..store import Held, Store
from .zone import addresses_of

HISTORY_BYTES_MAX: Final = 32 * 2**20
"""What the history may hold on to. A secondary that is further behind gets the whole zone."""
HISTORY_STEPS_MAX: Final = 4096
"""An hour of changes in every second: no secondary that lives is further behind."""
_HELD_BYTES: Final = 16
"""Of a record in a tuple that is kept: a pointer, and the tuple's own share."""

Records = tuple[bytes, ...]


class Moment(NamedTuple):
    """The whole board as of one serial; nobody changes it."""

    serial: int
    services: Mapping[bytes, Held]
    addresses: Sequence[bytes]


class Difference(NamedTuple):
    """From one serial to another: services as (before, after); address names gone and new."""

    before: int
    after: int
    services: Mapping[bytes, tuple[Records, Records]]
    gone: Sequence[bytes]
    new: Sequence[bytes]


class _Step(NamedTuple):
    serial: int
    before: Mapping[bytes, Records]
    size_bytes: int


class FlatStore(Store):
    """A store whose services are replaced whole, and never a `Crowd`."""

    def put(self, key: bytes, records: Records) -> None:
        if self.reverse is not None:
            self._index(self.reverse, key, records)
        held = self.records(key)
        for one in set(held).difference(records):
            self.count_protocols(key, one, None)
        for one in set(records).difference(held):
            self.count_protocols(key, None, one)
        before = len(held)
        self.instances += len(records) - before
        if bool(before) != bool(records):
            namespace = namespace_of(key)
            count = self._namespaces.get(namespace, 0) + (1 if records else -1)
            self._namespaces[namespace] = count
            if not count:
                del self._namespaces[namespace]
        if not records:
            self._services.pop(key, None)
        else:
            self._services[key] = records[0] if len(records) == 1 else records

    def _index(self, reverse: ReverseIndex, key: bytes, records: Records) -> None:
        before = {prefix_of(one): one for one in self.records(key)}
        after = {prefix_of(one): one for one in records}
        for prefix in before | after:
            reverse.put(key, prefix, before.get(prefix), after.get(prefix))

    def records(self, key: bytes) -> Records:
        return records_of_held(self._services.get(key, ()))

    def copy_of_services(self) -> dict[bytes, Held]:
        return self._services.copy()

    def keys(self) -> Iterable[bytes]:
        return self._services.keys()


class BoardCopy:
    """`note` changes, `settle` them into a step; then `moment` and `since` speak of `serial`."""

    def __init__(self, *, has_reverse: bool = False) -> None:
        """`has_reverse`: addresses can be looked up in `store`, too."""
        self.serial = 0
        self.store = FlatStore(ReverseIndex() if has_reverse else None)
        self._addresses: Counter[bytes] = Counter()
        self._pending: dict[bytes, dict[bytes, bytes]] = {}
        self._pending_index = 0
        self._is_cut = False
        self._steps: deque[_Step] = deque()
        self._history_bytes = 0

    @property
    def is_settled(self) -> bool:
        """Or cannot be yet: a serial must not stand for a part of what belongs to it."""
        return self._is_cut or (not self._pending and self._pending_index <= self.serial)

    def note(self, index: int, changes: Iterable[tuple[bytes, bytes]]) -> None:
        """Service keys and records as in the feed; the board is then at `index`, or not yet when
        that is 0."""
        for key, record in changes:
            self._pending.setdefault(key, {})[prefix_of(record)] = record
        self._is_cut = not index
        self._pending_index = index or self._pending_index

    def settle(self) -> Sequence[bytes]:
        """Take in what was noted; the keys of the services that are not what they were."""
        if self.is_settled:
            return ()
        changed = {}
        for key, records in self._pending.items():
            after = _merged(self.store.records(key), records)
            if after != self.store.records(key):
                changed[key] = after
        self._pending = {}
        self._take_step(self._pending_index, changed)
        return list(changed)

    def replace(self, index: int, noted: "BoardCopy") -> None:
        """Go on from another copy that was noted into: the history takes it as one step."""
        noted.note(index, ())
        noted.settle()
        keys = {*self.store.keys(), *noted.store.keys()}
        changed = {}
        for key in keys:
            before, after = self.store.records(key), noted.store.records(key)
            if before != after and sorted(before) != sorted(after):
                changed[key] = after
        self._pending, self._is_cut = {}, False
        if index < self.serial or not self.serial:
            self._steps.clear()
            self._history_bytes = 0
            self.serial, self.store, self._addresses = index, noted.store, noted._addresses
        else:
            self._take_step(index, changed)
        self._pending_index = index

    def moment(self) -> Moment:
        return Moment(self.serial, self.store.copy_of_services(), list(self._addresses))

    def since(self, serial: int) -> Difference | None:
        """None when no such serial is remembered, or the whole is less than the difference."""
        before: dict[bytes, Records] = {}
        for step in reversed(self._steps):
            before.update(step.before)
            if step.serial & 0xFFFFFFFF == serial:
                break
        else:
            return None
        pairs = {key: (held, self.store.records(key)) for key, held in before.items()}
        changes = sum(len(set(was).symmetric_difference(now)) for was, now in pairs.values())
        if changes > self.store.instances:
            return None
        gone, new = self._address_names(pairs.values())
        return Difference(serial, self.serial, pairs, gone, new)

    def _address_names(
        self, pairs: Iterable[tuple[Records, Records]]
    ) -> tuple[Sequence[bytes], Sequence[bytes]]:
        more: Counter[bytes] = Counter()
        for before, after in pairs:
            more.update(addresses_of(after))
            more.subtract(addresses_of(before))
        changed = [address for address, count in more.items() if count]
        gone = [one for one in changed if not self._addresses[one]]
        new = [one for one in changed if self._addresses[one] == more[one]]
        return gone, new

    def _take_step(self, index: int, changed: Mapping[bytes, Records]) -> None:
        before = {}
        size_bytes = 0
        for key, after in changed.items():
            was = before[key] = self.store.records(key)
            size_bytes += len(was) * _HELD_BYTES + sum(map(len, set(was).difference(after)))
            self._count_addresses(was, after)
            self.store.put(key, after)
        self._steps.append(_Step(self.serial, before, size_bytes))
        self._history_bytes += size_bytes
        self.serial = index
        while self._history_bytes > HISTORY_BYTES_MAX or len(self._steps) > HISTORY_STEPS_MAX:
            self._history_bytes -= self._steps.popleft().size_bytes

    def _count_addresses(self, before: Records, after: Records) -> None:
        self._addresses.update(addresses_of(after))
        for address in addresses_of(before):
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]


def records_of_held(held: Held) -> Records:
    return (held,) if isinstance(held, bytes) else tuple(held)


def _merged(held: Records, changes: Mapping[bytes, bytes]) -> Records:
    by_id = {prefix_of(one): one for one in held}
    for prefix, record in changes.items():
        if len(record) > len(prefix):
            by_id[prefix] = record
        else:
            by_id.pop(prefix, None)
    return tuple(by_id.values())
