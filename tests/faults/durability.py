"""What was acknowledged is there; what was refused is not; the nodes show what was committed."""

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
    """Acknowledged writes that were never committed as the board said they were."""
    committed = {(change.key, change.index, change.kind): change for change in log}
    found = []
    for call in _acknowledged(calls):
        kind = "delete" if call.kind == "deregister" else "put"
        change = committed.get((call.key, call.index, kind))
        if change is None:
            found.append(f"{call.kind} of {call.key} at index {call.index} was never committed")
        elif call.value is not None and call.value.encode() not in change.value:
            found.append(f"{call.kind} of {call.key} at index {call.index} holds another value")
    return found


def missing(calls: Iterable[Call], log: Sequence[Change], state: State) -> list[str]:
    """Acknowledged writes that a node does not show, although no later change replaced them."""
    last: dict[str, Change] = {change.key: change for change in log}
    found = []
    for call in _acknowledged(calls):
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


def _acknowledged(calls: Iterable[Call]) -> Iterable[Call]:
    """Writes with an index of their own; a cas that compared in vain wrote nothing."""
    for call in calls:
        written = call.kind in ("write", "register", "deregister") or (
            call.kind == "cas" and call.output
        )
        if written and call.outcome == "ok" and call.index:
            yield call
