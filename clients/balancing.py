"""Which of several instances gets the next piece of work."""

import random
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from types import TracebackType
from typing import Literal, Self, get_args

from .errors import InvalidArgument
from .results import Instance

Policy = Literal["round-robin", "random", "weighted", "least-used"]
POLICIES = get_args(Policy)


class Balancer:
    """The choices of one client for one service. Not thread-safe: its owner holds a lock."""

    def __init__(self, randomness: Callable[[], float] = random.random) -> None:
        self._randomness = randomness
        self._turn: Counter[str | None] = Counter()
        self._in_use: Counter[str] = Counter()

    def choose(
        self, policy: Policy, candidates: Sequence[Instance], tag: str | None = None
    ) -> Instance:
        """One of `candidates`, of which there must be some. Raises `InvalidArgument`."""
        assert candidates
        match policy:
            case "round-robin":
                return self._next_in_turn(candidates, tag)
            case "random":
                return candidates[self._position(len(candidates))]
            case "weighted":
                return self._by_weight(candidates)
            case "least-used":
                return self._least_used(candidates, tag)
        raise InvalidArgument(
            f"policy {policy!r}: use one of {', '.join(POLICIES)}", field="policy"
        )

    def taken(self, instance_id: str) -> None:
        self._in_use[instance_id] += 1

    def given_back(self, instance_id: str) -> None:
        self._in_use[instance_id] -= 1
        if self._in_use[instance_id] <= 0:
            del self._in_use[instance_id]

    def _next_in_turn(self, candidates: Sequence[Instance], tag: str | None) -> Instance:
        turn = self._turn[tag]
        self._turn[tag] = turn + 1
        return candidates[turn % len(candidates)]

    def _position(self, count: int) -> int:
        return min(int(self._randomness() * count), count - 1)

    def _by_weight(self, candidates: Sequence[Instance]) -> Instance:
        """A weight of 0 gets nothing, unless there is nobody else (RFC 2782 keeps it rare)."""
        bounds = list(accumulate(instance.weight for instance in candidates))
        if bounds[-1] <= 0:
            return candidates[self._position(len(candidates))]
        return candidates[bisect(bounds, self._position(bounds[-1]))]

    def _least_used(self, candidates: Sequence[Instance], tag: str | None) -> Instance:
        """Those with equally little to do take turns, or the first would get every lone call."""
        least = min(self._in_use[instance.id] for instance in candidates)
        idle = [instance for instance in candidates if self._in_use[instance.id] == least]
        return self._next_in_turn(idle, tag)


class Peer:
    """A picked instance. For `least-used`, give it back: `with board.pick(...) as peer`, or
    `peer.release()`; a forgotten one is given back when it is collected."""

    __slots__ = ("_release", "age_s", "instance")

    def __init__(
        self, instance: Instance, age_s: float, release: Callable[[], None] | None = None
    ) -> None:
        self.instance = instance
        self.age_s = age_s
        """How long no server was heard when it was picked; 0 while one tells of every change."""
        self._release = release

    @property
    def id(self) -> str:
        return self.instance.id

    @property
    def address(self) -> str:
        return self.instance.address

    @property
    def port(self) -> int | None:
        return self.instance.port

    @property
    def endpoint(self) -> str:
        """`HOST:PORT`, IPv6 in brackets."""
        return self.instance.endpoint

    def release(self) -> None:
        """May be called again."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"Peer({self.id!r}, {self.endpoint!r}, age_s={self.age_s:.1f})"
