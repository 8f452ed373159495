"""What stands at a name below in-addr.arpa or ip6.arpa."""

from collections.abc import Collection

from . import codec, wire
from .instances import ABSENT, EMPTY, Found
from .names import Labels
from .reverse import range_of
from .store import Store


class ReverseAnswers:
    """`home` is the zone that the names lead to, and whose name server serves `zones` too."""

    def __init__(self, home: Labels, zones: Collection[Labels], ttl_s: int) -> None:
        self.zones = frozenset(zones)
        self._home = home
        self._ttl_s = ttl_s

    def home_of(self, zone: Labels) -> Labels:
        """The zone in which the name server of `zone` has its name."""
        return self._home if zone in self.zones else zone

    def find(self, store: Store, labels: Labels, qtype: int) -> Found:
        """The PTR records of an address; above addresses there are empty non-terminals."""
        asked = range_of(labels)
        if asked is None or store.reverse is None or not store.reverse.has(asked):
            return ABSENT
        if not asked.whole or qtype not in (wire.PTR, wire.ANY):
            return EMPTY
        names = store.reverse.names(asked.low)
        return Found(True, [codec.ptr_record((*name, *self._home), self._ttl_s) for name in names])
