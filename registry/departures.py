"""When things that are gone went, remembered for a while and never understated."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

DEPARTURES_MAX: Final = 10_000
"""A blocking read of a name that went longer ago than this many others answers at once, once,
instead of waiting: wrong only in being early."""

Thing = TypeVar("Thing", bound=Hashable)


class Departures(Generic[Thing]):
    """The index at which each thing went; for forgotten ones, an index that is late enough."""

    def __init__(self) -> None:
        self._indices: OrderedDict[Thing, int] = OrderedDict()
        self.floor = 0
        """Whatever is not remembered went at this index or before, if it ever was there."""

    def reset(self, floor: int) -> None:
        self._indices.clear()
        self.floor = floor

    def went(self, thing: Thing, index: int) -> None:
        self._indices[thing] = index
        self._indices.move_to_end(thing)
        if len(self._indices) > DEPARTURES_MAX:
            _, self.floor = self._indices.popitem(last=False)

    def came_back(self, thing: Thing) -> None:
        self._indices.pop(thing, None)

    def index(self, thing: Thing) -> int:
        return self._indices.get(thing, self.floor)

    def items(self) -> Iterator[tuple[Thing, int]]:
        return iter(self._indices.items())
