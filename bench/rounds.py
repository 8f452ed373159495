"""A B C, A B C: what is compared is measured in turn, so that a slow minute hits all alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from .context import Context
from .usage import Usage

AGAIN_MAX = 2
"""How often a window is measured again because somebody else used the cores meanwhile: enough for
a passing disturbance, and a machine that is never quiet still comes to an end, with its doubts."""


class Disturbable(Protocol):
    @property
    def disturbance(self) -> float:
        """Share of a core that somebody else took, above what is normal; 0 for nothing."""
        ...


Measured = TypeVar("Measured", bound=Disturbable)


def interleaved(
    context: Context, cases: Mapping[str, Callable[[], Measured]]
) -> dict[str, list[Measured]]:
    """The first round warms caches and is thrown away (but for a try-out)."""
    values: dict[str, list[Measured]] = {label: [] for label in cases}
    if not context.quick:
        for measure in cases.values():
            measure()
    for _ in range(context.rounds):
        for label, measure in cases.items():
            values[label].append(_undisturbed(context, measure))
    return values


def _undisturbed(context: Context, measure: Callable[[], Measured]) -> Measured:
    """Chosen by the disturbance alone, never by what was measured."""
    best = measure()
    for _ in range(0 if context.quick else AGAIN_MAX):
        if not best.disturbance:
            break
        best = min(best, measure(), key=lambda one: one.disturbance)
    return best


def check_usage(context: Context, title: str, usages: Mapping[str, Sequence[Usage]]) -> None:
    """Doubt windows that somebody else disturbed, and loads that were at their own limit."""
    every = [usage for windows in usages.values() for usage in windows]
    disturbed = [usage.disturbance for usage in every if usage.disturbance]
    if disturbed:
        context.doubt(
            f"{title}: in {len(disturbed)} of {len(every)} windows others were at work, "
            f"at most {max(disturbed):.0%} of a core"
        )
    full = [label for label, windows in usages.items() if all(one.load_was_full for one in windows)]
    if full:
        context.doubt(
            f"{title}: the load was at its limit with {', '.join(full)}: rates are floors"
        )


def shares(usage: Usage) -> dict[str, str]:
    return {
        "servers, of a core": f"{usage.server_share:.0%}",
        "load, of a core": f"{usage.load_share:.0%}",
    }
