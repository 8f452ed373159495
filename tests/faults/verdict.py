"""All checks of one run together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import durability, lease_bounds, linearizability, watch_order
from .history import Change, History
from .traffic import MORTAL_TTL_S

LEASE_BOUND_S = 5.0
"""Beyond the TTL: a sweep, an election, and the slowness of two busy cores."""
SHOWN_MAX = 5
"""Faults of each check that are told: the first show the rest."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a run left behind. `states`: what each node shows, at `indices`, when all is quiet."""

    history: History
    log: Sequence[Change]
    states: Mapping[str, Mapping[str, int]]
    indices: Mapping[str, int]
    steady: Sequence[str] = ()
    mortals: Mapping[str, int] = field(default_factory=dict)
    keeper_changes: int = 0
    healed_ns: int = 0


def faults_in(evidence: Evidence, *, linearizability_limit_s: float = 60) -> dict[str, list[str]]:
    """By the name of the check; empty when all hold."""
    calls, events, log = evidence.history.calls, evidence.history.events, evidence.log
    expected = durability.replayed(log)
    instances = [change for change in log if "/" in change.key]
    written = {change.key for change in log}
    judged = linearizability.judge(calls, linearizability_limit_s)
    found: dict[str, list[str]] = {
        "linearizable": []
        if judged.verdict == "linearizable"
        else [f"{judged.verdict}: {judged.key}: {judged.why}"],
        "durable": durability.lost(calls, log)
        + [
            f"{name}: {fault}"
            for name, state in evidence.states.items()
            for fault in durability.missing((c for c in calls if c.index), log, state)
        ],
        "no ghosts": durability.ghosts(calls, log, evidence.history.of("read")),
        "one catalog": durability.differences({"log": expected, **evidence.states})
        + ([] if len(set(evidence.indices.values())) == 1 else [f"{evidence.indices}"]),
        "watches": watch_order.broken(events, instances),
        "leases kept": lease_bounds.dropped(calls, events),
        "leases ended": lease_bounds.overdue(
            {key: at_ns for key, at_ns in evidence.mortals.items() if key in written},
            _gone(evidence),
            ttl_s=MORTAL_TTL_S,
            keeper_changes=evidence.keeper_changes,
            bound_s=LEASE_BOUND_S,
            able_since_ns=evidence.healed_ns,
        ),
        "steady": [f"{key} is not there" for key in evidence.steady if key not in expected],
        "dns": _denied(evidence.history),
    }
    return {check: faults[:SHOWN_MAX] for check, faults in found.items() if faults}


def _gone(evidence: Evidence) -> dict[str, int]:
    """When each key was first seen to go."""
    gone: dict[str, int] = {}
    for event in evidence.history.events:
        if event.kind == "delete":
            gone[event.key] = min(gone.get(event.key, event.seen_ns), event.seen_ns)
    return gone


def _denied(history: History) -> list[str]:
    """Names of what is there that a node denied after it had once told them."""
    told: dict[str, bool] = defaultdict(bool)
    found = []
    for call in history.of("ask"):
        code, answers = call.output
        if code == 0 and answers:
            told[call.node] = True
        elif told[call.node] and code in (0, 3):
            found.append(f"{call.node} said that {call.key} is not there (code {code})")
    return found
