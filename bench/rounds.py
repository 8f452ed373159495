"""A B C, A B C: what is compared is measured in turn, so that a slow minute hits all alike."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from .context import Context
from .usage import Usage

Measured = TypeVar("Measured")


def interleaved(
    context: Context, cases: Mapping[str, Callable[[], Measured]]
) -> dict[str, list[Measured]]:
    """The first round warms caches and is thrown away (but for a try-out)."""
    values: dict[str, list[Measured]] = {label: [] for label in cases}
    for number in range(context.rounds + (not context.quick)):
        for label, measure in cases.items():
            measured = measure()
            if number or context.quick:
                values[label].append(measured)
    return values


def check_usage(context: Context, label: str, usages: list[Usage]) -> None:
    disturbed = [usage.disturbance() for usage in usages if usage.disturbance()]
    if disturbed:
        context.doubt(
            f"{label}: others were at work in {len(disturbed)} of {len(usages)} windows, "
            f"{max(disturbed)}"
        )
    if all(usage.load_was_full for usage in usages):
        context.doubt(f"{label}: the load was at its limit, the server could do more")


def shares(usage: Usage) -> dict[str, str]:
    return {"server core": f"{usage.server_share:.0%}", "load core": f"{usage.load_share:.0%}"}
