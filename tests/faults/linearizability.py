"""Is a history of registers linearizable? A Wing-Gong search with Lowe's memory of dead ends.

Each key is a register of its own. An operation takes effect at one moment between its call and
its return. One whose outcome is unknown takes effect at some moment after its call, or never.
A definite failure never takes effect and is left out, so a value of it that is read is an error.

Values are unique over a history (each is written by one call). Two reductions rest on that, and
neither hides an error:

1. A value that somebody saw was written before that somebody's call returned.
2. What nobody saw is of use for one thing only: to make a cas fail whose value would match. So
   calls of unknown outcome without a trace are tried where such a cas stands in the way, and of
   writes, which differ in nothing but the time of their call, the earliest first.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .history import Call

Verdict = Literal["linearizable", "illegal", "unknown"]

REGISTER_KINDS = ("read", "write", "cas")
_NOBODY_SAW = "\0nobody saw"
_Place = tuple[int, int, str | None]
"""Which operations have taken effect (as bits), how many unseen writes have, and the value."""


@dataclass(frozen=True, slots=True)
class Judged:
    """`why`: for an illegal history, the calls of which none can come next."""

    verdict: Verdict
    key: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Operation:
    call: Call
    start: float
    end: float
    value: str | None

    @property
    def optional(self) -> bool:
        return self.call.outcome == "unknown"


class TooLong(Exception):
    """The search met its deadline."""


def judge(calls: Iterable[Call], limit_s: float = 60.0) -> Judged:
    """Of all keys; the first illegal one counts, then the first that took too long."""
    by_key: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.kind in REGISTER_KINDS:
            by_key[call.key].append(call)
    deadline = time.monotonic() + limit_s
    unknown: Judged | None = None
    for key in sorted(by_key):
        try:
            stuck = _Search(_operations(by_key[key]), deadline).run()
        except TooLong:
            unknown = unknown or Judged("unknown", key, f"not decided within {limit_s:g} s")
            continue
        if stuck is not None:
            return Judged("illegal", key, stuck)
    return unknown or Judged("linearizable")


def _operations(calls: Sequence[Call]) -> list[_Operation]:
    kept, seen_by = _proven([call for call in calls if _counts(call)])
    compared = {call.expected for call in kept if call.kind == "cas"}
    operations = []
    for call in kept:
        end = math.inf if call.outcome == "unknown" else float(call.return_ns)
        value = call.value
        if call.kind != "read" and value is not None:
            end = min(end, seen_by.get(value, math.inf))
            if value not in seen_by and value not in compared:
                value = _NOBODY_SAW
        operations.append(_Operation(call, float(call.call_ns), end, value))
    return sorted(operations, key=lambda operation: operation.start)


def _proven(calls: Sequence[Call]) -> tuple[list[Call], dict[str, float]]:
    """The calls, with those of unknown outcome that left a trace now known to have happened, and
    when each value was first seen at the latest. A cas that happened saw what it compared with."""
    kept = list(calls)
    seen_by: dict[str, float] = {}
    while True:
        for call in kept:
            saw = _saw(call)
            if saw is not None:
                by = seen_by.get(call.value or "", math.inf)
                by = min(by, math.inf if call.outcome == "unknown" else call.return_ns)
                seen_by[saw] = min(seen_by.get(saw, math.inf), by)
        traced = [at for at, call in enumerate(kept) if _left_a_trace(call, seen_by)]
        if not traced:
            return kept, seen_by
        for at in traced:
            by = min(seen_by[kept[at].value or ""], 2**63)
            kept[at] = replace(kept[at], outcome="ok", output=True, return_ns=int(by))


def _left_a_trace(call: Call, seen_by: dict[str, float]) -> bool:
    return call.outcome == "unknown" and call.kind != "read" and call.value in seen_by


def _counts(call: Call) -> bool:
    return call.outcome == "ok" or (call.outcome == "unknown" and call.kind != "read")


def _saw(call: Call) -> str | None:
    """The value that was in the register, if the answer proves one."""
    if call.outcome != "ok":
        return None
    if call.kind == "read":
        return call.output
    return call.expected if call.kind == "cas" and call.output else None


class _Search:
    def __init__(self, operations: Sequence[_Operation], deadline: float) -> None:
        self._unseen = [o for o in operations if _is_unseen_write(o)]
        self._ops = [o for o in operations if not _is_unseen_write(o)]
        self._required = sum(1 << at for at, o in enumerate(self._ops) if not o.optional)
        self._deadline = deadline
        self._furthest: tuple[int, str] = (-1, "")

    def run(self) -> str | None:
        """None when an order was found, else what it got stuck at."""
        start: _Place = (0, 0, None)
        seen, waiting, steps = {start}, [start], 0
        while waiting:
            place = waiting.pop()
            if place[0] & self._required == self._required:
                return None
            steps += 1
            if steps % 256 == 0 and time.monotonic() > self._deadline:
                raise TooLong
            for following in self._next(place):
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)
        return self._furthest[1]

    def _next(self, place: _Place) -> list[_Place]:
        """Unlikely ones first: the search takes the last."""
        done, unseen_used, value = place
        open_ops, first_end = self._open(done)
        following: list[_Place] = []
        in_the_way = any(_matched_in_vain(self._ops[at], value) for at in open_ops)
        unseen = self._unseen[unseen_used] if unseen_used < len(self._unseen) else None
        if in_the_way and unseen and unseen.start < first_end:
            following.append((done, unseen_used + 1, _NOBODY_SAW))
        for at in reversed(open_ops):
            operation = self._ops[at]
            if operation.optional and not in_the_way:
                continue
            if operation.start < first_end and _fits(operation, value):
                after = value if _leaves_it(operation) else operation.value
                following.append((done | 1 << at, unseen_used, after))
        if not following:
            self._note(done, value, open_ops, first_end)
        return following

    def _open(self, done: int) -> tuple[list[int], float]:
        """What may come next by time: all that began before the first return among them."""
        found: list[int] = []
        first_end = math.inf
        at = (~done & (done + 1)).bit_length() - 1  # the first that is not done
        while at < len(self._ops) and self._ops[at].start < first_end:
            if not done >> at & 1:
                found.append(at)
                if not self._ops[at].optional:
                    first_end = min(first_end, self._ops[at].end)
            at += 1
        return found, first_end

    def _note(self, done: int, value: str | None, open_ops: list[int], first_end: float) -> None:
        count = done.bit_count()
        if count > self._furthest[0]:
            blocked = [self._ops[at].call for at in open_ops if self._ops[at].start < first_end]
            self._furthest = (count, f"with {value!r} in it, none of these can be next: {blocked}")


def _is_unseen_write(operation: _Operation) -> bool:
    return operation.optional and operation.call.kind == "write" and operation.value == _NOBODY_SAW


def _fits(operation: _Operation, value: str | None) -> bool:
    call = operation.call
    if call.kind == "read":
        return call.output == value
    if call.kind == "cas":
        matches = call.expected == value
        return matches if operation.optional else bool(call.output) == matches
    return True


def _matched_in_vain(operation: _Operation, value: str | None) -> bool:
    """A cas that failed, and would succeed now."""
    call = operation.call
    return (
        call.kind == "cas" and call.outcome == "ok" and not call.output and call.expected == value
    )


def _leaves_it(operation: _Operation) -> bool:
    call = operation.call
    return call.kind == "read" or (call.kind == "cas" and call.outcome == "ok" and not call.output)
