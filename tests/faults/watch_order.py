"""Watches are ordered, complete, told once, and whole for every index: held against the log."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from .history import Change, Event


def broken(events: Iterable[Event], log: Sequence[Change]) -> list[str]:
    """What is wrong with what the watchers saw; `log` is all changes that they asked for."""
    by_watcher: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_watcher[event.watcher].append(event)
    committed = _Log(log)
    return [
        f"{watcher}: {fault}"
        for watcher, seen in by_watcher.items()
        for fault in _faults(seen, committed)
    ]


def behind(told: Mapping[str, int], last: int) -> list[str]:
    """Watchers who have not been told of the last change, given the index that each has come to:
    `broken` cannot know that more was to come."""
    return [
        f"{watcher} was told up to {index}, and the log goes on to {last}"
        for watcher, index in told.items()
        if index < last
    ]


class _Log:
    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = sorted(changes, key=lambda change: change.index)
        self._indices = [change.index for change in self.changes]
        self.by_key: dict[str, list[Change]] = defaultdict(list)
        for change in self.changes:
            self.by_key[change.key].append(change)

    def between(self, after: int, upto: int) -> list[Change]:
        start, end = bisect_right(self._indices, after), bisect_right(self._indices, upto)
        return self.changes[start:end]

    def last_of(self, key: str, upto: int) -> Change | None:
        earlier = [change for change in self.by_key[key] if change.index <= upto]
        return earlier[-1] if earlier else None


def _faults(seen: Sequence[Event], log: _Log) -> list[str]:
    """Each stretch from a snapshot (or the first resumption) to the next is checked whole."""
    stretches: list[list[Event]] = []
    for event in seen:
        if event.kind == "snapshot" or not stretches:
            stretches.append([])
        stretches[-1].append(event)
    return [fault for stretch in stretches for fault in _stretch_faults(stretch, log)]


def _stretch_faults(stretch: Sequence[Event], log: _Log) -> list[str]:
    first = stretch[0]
    faults = _snapshot_faults(first, log) if first.kind == "snapshot" else []
    since = first.index if first.kind == "snapshot" else first.resumed_from
    told = [event for event in stretch if event.kind != "snapshot"]
    for earlier, later in pairwise(told):
        if later.index < earlier.index:
            faults.append(f"index {later.index} of {later.key} came after {earlier.index}")
    if not told:
        return faults
    committed = log.between(since, max(event.index for event in told))
    wanted = {(change.index, change.key, change.kind) for change in committed}
    counts: dict[tuple[int, str, str], int] = defaultdict(int)
    for event in told:
        counts[event.index, event.key, event.kind] += 1
    faults += [f"never told of {change}" for change in sorted(wanted - counts.keys())]
    faults += [f"told of {event}, which never was" for event in sorted(counts.keys() - wanted)]
    faults += [f"told {n} times of {event}" for event, n in sorted(counts.items()) if n > 1]
    return faults


def _snapshot_faults(snapshot: Event, log: _Log) -> list[str]:
    """It may show what came while it was sent, and must show what there was when it began."""
    faults = []
    for key, index in snapshot.listed.items():
        if not any(c.index == index and c.kind == "put" for c in log.by_key[key]):
            faults.append(f"the snapshot at {snapshot.index} shows {key} of {index}: never was")
    for key in log.by_key:
        last = log.last_of(key, snapshot.index)
        shown = snapshot.listed.get(key, 0)
        if last is None or shown > snapshot.index:
            continue
        gone_meanwhile = any(
            c.kind == "delete" and c.index > snapshot.index for c in log.by_key[key]
        )
        if last.kind == "put" and shown != last.index and not (shown == 0 and gone_meanwhile):
            faults.append(
                f"the snapshot at {snapshot.index} shows {key} of {shown}, not of {last.index}"
            )
        if last.kind == "delete" and shown:
            faults.append(f"the snapshot at {snapshot.index} shows {key}, gone at {last.index}")
    return faults
