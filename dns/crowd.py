"""A service with many instances, held so that no question about it has to read them all."""

from collections import Counter
from collections.abc import Collection, Iterator

from .record import facets_of, is_handed_out, prefix_of, unpack_record


class Crowd:
    """Records by id prefix; those handed out also by facet (`record.facets_of`)."""

    __slots__ = ("_by_facet", "_known", "_shown", "_withheld")

    def __init__(self) -> None:
        self._shown: dict[bytes, bytes] = {}
        self._withheld: dict[bytes, bytes] = {}
        self._by_facet: dict[bytes, dict[bytes, bytes]] = {}
        self._known: Counter[bytes] = Counter()
        """How many have the facet, withheld ones too: whether its name exists."""

    def __len__(self) -> int:
        return len(self._shown) + len(self._withheld)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._shown.values()
        yield from self._withheld.values()

    def get(self, prefix: bytes) -> bytes | None:
        return self._shown.get(prefix) or self._withheld.get(prefix)

    def find(self, facet: bytes | None) -> tuple[bool, Collection[bytes]]:
        """As `Store.find`."""
        if facet is None:
            return True, self._shown.values()
        return facet in self._known, self._by_facet.get(facet, {}).values()

    def put(self, record: bytes) -> None:
        prefix = prefix_of(record)
        self.remove(prefix)
        shown = is_handed_out(record)
        (self._shown if shown else self._withheld)[prefix] = record
        for facet in facets_of(unpack_record(record)):
            self._known[facet] += 1
            if shown:
                self._by_facet.setdefault(facet, {})[prefix] = record

    def remove(self, prefix: bytes) -> None:
        record = self._shown.pop(prefix, None) or self._withheld.pop(prefix, None)
        if record is None:
            return
        for facet in facets_of(unpack_record(record)):
            self._known[facet] -= 1
            if not self._known[facet]:
                del self._known[facet]
            having = self._by_facet.get(facet)
            if having is not None and having.pop(prefix, None) is not None and not having:
                del self._by_facet[facet]
