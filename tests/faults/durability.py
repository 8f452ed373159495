"""What was acknowledged is there; what was refused is not; the nodes show what was committed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from .history import Call, Change

State = Mapping[str, int]
"""The modify index of each key that a node shows."""


def replayed(log: Sequence[Change]) -> dict[str, int]:
    """The state that the committed log leads to."""
    state: dict[str, int] = {}
    for change in log:
        if change.kind == "put":
            state[change.key] = change.index
        else:
            state.pop(change.key, None)
    return state


def lost(calls: Iterable[Call], log: Sequence[Change]) -> list[str]:
    """Acknowledged writes that were never committed, or not as the board said they were.

    Some answers name no index of their own (`Call.index` is 0): then any of the key will do, as
    values are unique, and keys that are removed are removed once.
    """
    by_key: dict[str, list[Change]] = defaultdict(list)
    for change in log:
        by_key[change.key].append(change)
    found = []
    for call in acknowledged(calls):
        kind = "delete" if call.kind == "deregister" else "put"
        value = call.value.encode() if call.value and kind == "put" else b""
        of_kind = [change for change in by_key[call.key] if change.kind == kind]
        at_index = [change for change in of_kind if call.index in (0, change.index)]
        if not at_index:
            found.append(f"{call.kind} of {call.key} at index {call.index} was never committed")
        elif not any(value in change.value for change in at_index):
            found.append(f"{call.kind} of {call.key} at index {call.index} holds another value")
    return found


def missing(calls: Iterable[Call], log: Sequence[Change], state: State) -> list[str]:
    """Acknowledged writes that a node does not show, although no later change replaced them."""
    last: Mapping[str, Change] = {change.key: change for change in log}
    found = []
    for call in acknowledged(calls):
        if call.kind == "deregister":
            if state.get(call.key, call.index) < call.index:
                found.append(f"{call.key} is back as of {state[call.key]}, before its removal")
            continue
        if state.get(call.key, 0) >= call.index:
            continue
        later = last.get(call.key)
        if later is None or later.kind != "delete" or later.index <= call.index:
            found.append(f"{call.kind} of {call.key} at index {call.index} is gone")
    return found


def ghosts(calls: Iterable[Call], log: Iterable[Change], reads: Iterable[Call]) -> list[str]:
    """Values of definite failures that were committed or read."""
    refused = {c.value: c for c in calls if c.outcome == "fail" and c.value is not None}
    stored = b"\0".join(change.value for change in log)
    shown = {read.output for read in reads if read.outcome == "ok"}
    return [
        f"{call.kind} of {call.key} was refused ({call.said}) and yet it happened"
        for value, call in refused.items()
        if value in shown or value.encode() in stored
    ]


def differences(shown: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Of what nodes show at one index: each key that some show otherwise than the first."""
    names = sorted(shown)
    found = []
    for name in names[1:]:
        for key in sorted(shown[names[0]].keys() | shown[name].keys()):
            here, there = shown[names[0]].get(key), shown[name].get(key)
            if here != there:
                found.append(f"{key}: {names[0]} shows {here}, {name} shows {there}")
    return found


def acknowledged(calls: Iterable[Call]) -> Iterable[Call]:
    """Writes that happened; a cas that compared in vain wrote nothing."""
    for call in calls:
        written = call.kind in ("write", "register", "deregister") or (
            call.kind == "cas" and call.output
        )
        if written and call.outcome == "ok":
            yield call
