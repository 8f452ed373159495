"""Compiled replies by packet: bounded, and dropped by service when that changes."""

from array import array
from collections.abc import Callable
from typing import Final, NamedTuple

ENTRIES_MAX: Final = 32_768
"""Per generation, of which there are two: some 40 MB at half a kilobyte each."""
HELD_BYTES_MAX: Final = 16 * 2**20
"""Of answers per generation: with large ones the number of entries would bound nothing."""

SEEN_SLOTS: Final = 16_384
"""Packets that were answered not long ago and not remembered: 128 KiB."""


Ready = tuple[bytes, int, int, Callable[[], bytes], int]
"""Header without id, end of the question in the packet, size of the reply, the next tail, and
what to count it as. A plain tuple, because the fast path takes it apart for every packet."""


class Origin(NamedTuple):
    """What a reply was made from: service keys, and the zone's serial if it is negative."""

    services: tuple[bytes, ...]
    held_bytes: int
    negative: bool


class ReplyCache:
    """Two generations: a full young one becomes the old one, and what is still asked for comes
    back from there. So a scan over a million names pushes nothing out that is in use.

    `young` is the dict that the fast path reads; it is emptied, never replaced. Keys are
    packets without their id, in lower case. That also folds types and classes that happen to be
    letters, which is harmless: none of those is served, so that their answers are the same.
    """

    def __init__(
        self, entries_max: int = ENTRIES_MAX, held_bytes_max: int = HELD_BYTES_MAX
    ) -> None:
        self.young: dict[bytes, Ready] = {}
        self._old: dict[bytes, Ready] = {}
        self._origins: dict[bytes, Origin] = {}
        self._keys: dict[bytes, set[bytes]] = {}
        self._negative: set[bytes] = set()
        self._entries_max = entries_max
        self._held_bytes_max = held_bytes_max
        self._held_bytes = 0
        self._seen = array("q", bytes(8 * SEEN_SLOTS))

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def find(self, key: bytes) -> Ready | None:
        ready = self.young.get(key)
        if ready is None and (ready := self._old.pop(key, None)) is not None:
            self.put(key, ready, self._origins[key])
        return ready

    def admits(self, key: bytes) -> bool:
        """Whether the packet was asked about before, not long ago: with many names that are
        asked once each, remembering costs more than it ever saves. What was remembered, and
        changed, is admitted again at once."""
        mark = hash(key)
        slot = mark % SEEN_SLOTS
        seen = self._seen[slot] == mark
        self._seen[slot] = mark
        return seen

    def put(self, key: bytes, ready: Ready, origin: Origin) -> None:
        if len(self.young) >= self._entries_max or self._held_bytes > self._held_bytes_max:
            self._age()
        self.young[key] = ready
        self._origins[key] = origin
        self._held_bytes += origin.held_bytes
        for service in origin.services:
            self._keys.setdefault(service, set()).add(key)
        if origin.negative:
            self._negative.add(key)

    def drop(self, service: bytes) -> None:
        """Forget every reply that was made from this service."""
        for key in self._keys.pop(service, ()):
            self._forget(key)

    def drop_negative(self) -> None:
        """Forget the replies that carry the zone's serial."""
        for key in tuple(self._negative):
            self._forget(key)

    def clear(self) -> None:
        self.young.clear()
        self._old.clear()
        self._origins.clear()
        self._keys.clear()
        self._negative.clear()
        self._held_bytes = 0

    def _forget(self, key: bytes) -> None:
        if self.young.pop(key, None) is not None:
            self._held_bytes -= self._origins[key].held_bytes
        else:
            self._old.pop(key, None)
        self._forget_origin(key)

    def _forget_origin(self, key: bytes) -> None:
        origin = self._origins.pop(key)
        for service in origin.services:
            keys = self._keys.get(service)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._keys[service]
        self._negative.discard(key)

    def _age(self) -> None:
        gone, self._old = self._old, dict(self.young)
        self.young.clear()
        self._held_bytes = 0
        for key in gone:
            self._forget_origin(key)
