"""The board: what a node shows, made from the engine's changes in their order.

Plain and synchronous: changes and the time come in, events go to the watches. Loading the
same pairs and applying the same changes gives the same board on every node.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from .catalog import Catalog, Departed, Entry
from .engine.seam import Change, Pair
from .hold_record import decode_held
from .instance import TTL_NEVER, DamagedValue, decode_instance
from .kv import KvStore, decode_kv
from .leases import Leases
from .names import (
    HELD_KEY,
    INSTANCE_PREFIX,
    KV_PREFIX,
    RENEWED_PREFIX,
    InstanceName,
    instance_key,
    instance_name,
    kv_key,
    kv_name,
)
from .renewed import decode_renewed
from .views import Event, KvPair, KvTopic, Listed, ServicesTopic, Topic
from .watches import Watches

_log: Final = logging.getLogger("callboard.registry")


class Board:
    """Catalog, KV, leases and watches as of `index`."""

    def __init__(self, holds: Callable[[], bool] = lambda: True) -> None:
        """`holds` is `Engine.holds`."""
        self.catalog = Catalog()
        self.kv = KvStore()
        self.leases: Leases[bytes] = Leases()
        self.watches = Watches()
        self.index = 0
        self.elected = True
        """Whether this node was elected to keep the leases, as far as it has been told."""
        self._holds = holds
        self.held_s = 0.0
        """For how long keepers have held leases back, as the last of them has written."""
        self.expiring: set[bytes] = set()
        """Keys whose deletion is on its way: a renewal now would come too late. The next
        change to a key, whatever it is, ends that."""

    @property
    def keeps_leases(self) -> bool:
        """Whether a renewal here is known to whoever expires it. A node that was stopped for a
        while may have been replaced, and asks its engine before it is told."""
        return self.elected and self._holds()

    def load(self, pairs: Sequence[Pair], now_s: float) -> None:
        """Show stored pairs; every lease starts anew. Raises `DamagedValue`, naming the key."""
        for pair in pairs:
            try:
                self._load(pair, now_s)
            except (DamagedValue, ValueError) as error:
                raise DamagedValue(f"the pair {pair.key!r} cannot be read: {error}") from error

    def loaded(self, index: int) -> None:
        """All pairs as of `index` have been loaded."""
        self.index = index
        self.catalog.loaded(index)
        self.kv.loaded(index)
        self.watches.loaded(index)

    def apply(self, changes: Sequence[Change], now_s: float) -> None:
        """Show a batch of changes and tell the watches; a damaged value is logged, not shown."""
        events: list[Event] = []
        for change in changes:
            self.index = change.revision
            self.expiring.discard(change.key)
            try:
                if change.key.startswith(INSTANCE_PREFIX):
                    event = self._apply_instance(change, now_s)
                    if event is not None:
                        events.append(event)
                elif change.key.startswith(KV_PREFIX):
                    self._apply_kv(change, now_s)
                elif change.key.startswith(RENEWED_PREFIX) and change.value is not None:
                    for key in decode_renewed(change.value):
                        self.renew_key(key, now_s)
                elif change.key == HELD_KEY:
                    self.held_s = 0.0 if change.value is None else decode_held(change.value)
            except (DamagedValue, ValueError):
                _log.exception("the pair %r cannot be read; it is not shown", change.key)
        self.watches.publish(events)

    def renew(self, name: InstanceName, now_s: float) -> float | None:
        """Start the lease of `name` anew; its TTL, or None when it is not registered."""
        key = instance_key(name)
        if key in self.expiring:
            return None
        ttl_s = self.leases.renew(key, now_s)
        if ttl_s is None and self.catalog.get(name) is not None:
            return TTL_NEVER
        return ttl_s

    def renew_key(self, key: bytes, now_s: float) -> bool:
        """The same by the engine's key, which another node may have made up."""
        if key in self.expiring:
            return False
        if self.leases.renew(key, now_s) is not None:
            return True
        try:
            return key.startswith(INSTANCE_PREFIX) and self.revision_of(key) is not None
        except ValueError:
            return False

    def expires_in_s(self, name: InstanceName, now_s: float) -> float | None:
        """None for what never expires, and on a node that does not know: another keeps leases."""
        if not self.keeps_leases:
            return None
        return self.leases.remaining_s(instance_key(name), now_s)

    def listed(self, name: InstanceName, entry: Entry, now_s: float) -> Listed:
        expires_in_s = self.expires_in_s(name, now_s)
        return Listed(entry.instance, entry.create_index, entry.modify_index, expires_in_s)

    def modify_index(self, topic: Topic) -> int:
        if isinstance(topic, KvTopic):
            return self.kv.modify_index(topic)
        return self.catalog.modify_index(topic)

    def revision_of(self, key: bytes) -> int | None:
        """The revision at which `key` last changed; None when it is not on the board."""
        if key.startswith(KV_PREFIX):
            pair = self.kv.get(kv_name(key))
            return None if pair is None else pair.modify_index
        if not key.startswith(INSTANCE_PREFIX):
            return None
        entry = self.catalog.get(instance_name(key))
        return None if entry is None else entry.modify_index

    def keys(self) -> Iterator[bytes]:
        """The engine's key of everything shown."""
        for page in self.catalog.pages(ServicesTopic(None)):
            yield from (instance_key(name) for name, _ in page)
        yield from map(kv_key, list(self.kv.keys("")))

    def _load(self, pair: Pair, now_s: float) -> None:
        if pair.key.startswith(INSTANCE_PREFIX):
            instance = decode_instance(pair.value)
            entry = _entry(pair.value, pair.create_revision, pair.modify_revision)
            self.catalog.put(instance_name(pair.key), instance, entry)
            self._set_lease(pair.key, instance.ttl, now_s)
        elif pair.key.startswith(KV_PREFIX):
            kv, ttl_s = _kv_pair(pair)
            self.kv.load(kv)
            self._set_lease(pair.key, ttl_s, now_s)
        elif pair.key == HELD_KEY:
            self.held_s = decode_held(pair.value)

    def _apply_instance(self, change: Change, now_s: float) -> Event | None:
        name = instance_name(change.key)
        if change.value is None:
            self.leases.drop(change.key)
            last = self.catalog.remove(name, change.revision)
            if last is None:
                return None
            return Event(change.revision, name, None, _listed(last), change.expired)
        instance = decode_instance(change.value)
        entry = _entry(change.value, change.create_revision, change.revision)
        last = self.catalog.put(name, instance, entry)
        self._set_lease(change.key, instance.ttl, now_s)
        listed = _listed(Departed(entry, instance))
        return Event(change.revision, name, listed, last and _listed(last), change.expired)

    def _apply_kv(self, change: Change, now_s: float) -> None:
        key = kv_name(change.key)
        if change.value is None:
            self.leases.drop(change.key)
            self.kv.remove(key, change.revision)
        else:
            pair = Pair(change.key, change.value, change.create_revision, change.revision)
            kv, ttl_s = _kv_pair(pair)
            self.kv.put(kv)
            self._set_lease(change.key, ttl_s, now_s)
        self.watches.kv_changed(key)

    def _set_lease(self, key: bytes, ttl_s: float, now_s: float) -> None:
        if ttl_s == TTL_NEVER:
            self.leases.drop(key)
        else:
            self.leases.grant(key, ttl_s, now_s)


def _entry(value: bytes, created: int, modified: int) -> Entry:
    # Most are never changed: one number object instead of two saves 32 bytes for each.
    return Entry(value, modified if created == modified else created, modified)


def _listed(shown: Departed) -> Listed:
    """An instance as of its own change: just granted its whole TTL."""
    entry, instance = shown
    expires_in_s = None if instance.ttl == TTL_NEVER else instance.ttl
    return Listed(instance, entry.create_index, entry.modify_index, expires_in_s)


def _kv_pair(pair: Pair) -> tuple[KvPair, float]:
    stored = decode_kv(pair.value)
    created, modified = pair.create_revision, pair.modify_revision
    return KvPair(kv_name(pair.key), stored.value, stored.flags, created, modified), stored.ttl_s
