"""What a measurement is: values of several interleaved rounds, a median and how far they spread."""

from dataclasses import dataclass, field
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class Series:
    """One row of a table. `notes` are further figures worth showing beside the values."""

    label: str
    values: tuple[float, ...]
    notes: dict[str, str] = field(default_factory=dict)
    ours: bool = False

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


@dataclass
class Table:
    """Series in one unit, measured in one run, so that they may be compared.

    `baseline` is the label that the ratio column divides by.
    """

    title: str
    unit: str
    better: Literal["less", "more"]
    series: list[Series]
    baseline: str | None = None
    note: str = ""

    def of(self, label: str) -> Series | None:
        return next((one for one in self.series if one.label == label), None)

    def ratio(self, label: str, to: str | None = None) -> float | None:
        """Ratio of medians, or None when either was not measured (a peer that is missing)."""
        ours, theirs = self.of(label), self.of(to or self.baseline or "")
        if ours is None or theirs is None or not theirs.median:
            return None
        return ours.median / theirs.median


@dataclass(frozen=True)
class Figure:
    """A figure to reach, and what this run says: reached, missed, or None for not measured."""

    what: str
    goal: str
    measured: str
    reached: bool | None


@dataclass
class Outcome:
    """All that one suite hands back."""

    suite: str
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def at_most(what: str, goal: str, value: float | None, limit: float, unit: str) -> Figure:
    return _figure(what, goal, value, unit, value is not None and value <= limit)


def at_least(what: str, goal: str, value: float | None, limit: float, unit: str) -> Figure:
    return _figure(what, goal, value, unit, value is not None and value >= limit)


def _figure(what: str, goal: str, value: float | None, unit: str, reached: bool) -> Figure:
    if value is None:
        return Figure(what, goal, "not measured", None)
    return Figure(what, goal, f"{shown(value)}{unit}", reached)


def shown(value: float) -> str:
    """A figure as people read it: three significant digits, thousands set apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value else "0"
