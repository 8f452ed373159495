"""Outcomes as JSON, Markdown, charts and lines on a terminal."""

import json
import re
from dataclasses import asdict
from pathlib import Path

from .chart import drawn
from .samples import Figure, Outcome, Series, Table, shown

_MARK = {True: "reached", False: "MISSED", None: "not measured"}


def write(outcome: Outcome, machine: dict[str, str], directory: Path) -> None:
    """Files of its own for each suite, so that one run alone leaves the others' results be."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob(f"{outcome.suite}-*.svg"):
        old.unlink()
    said = {"machine": machine, **asdict(outcome)}
    path = directory / f"{outcome.suite}.json"
    path.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    for table in outcome.tables:
        (directory / f"{_slug(outcome, table)}.svg").write_text(drawn(table))
    (directory / f"{outcome.suite}.md").write_text(_markdown(outcome, machine))


def tables(outcome: Outcome) -> str:
    """Medians, spreads, ratios and doubts, for a terminal."""
    lines = []
    for table in outcome.tables:
        lines += ["", f"{table.title} ({table.unit})", *map("  ".__add__, _lines(table))]
    lines += [f"missing: {text}" for text in outcome.missing]
    lines += [f"doubt: {text}" for text in outcome.doubts]
    return "\n".join([*lines, ""])


def figures(outcomes: list[Outcome]) -> str:
    return "\n".join(_figure_line(one) for outcome in outcomes for one in outcome.figures)


def _lines(table: Table) -> list[str]:
    width = max(len(one.label) for one in table.series)
    return [
        f"{one.label:<{width}}  {shown(one.median):>9}  [{shown(one.low)} .. {shown(one.high)}]"
        f"  {_ratio(table, one):>6}  " + ", ".join(f"{key} {text}" for key, text in _notes(one))
        for one in table.series
    ]


def _notes(one: Series) -> list[tuple[str, str]]:
    return list(one.notes.items())


def _ratio(table: Table, one: Series) -> str:
    ratio = table.ratio(one.label)
    return "" if ratio is None else f"x{ratio:.2f}"


def _figure_line(figure: Figure) -> str:
    return f"{_MARK[figure.reached]:<12} {figure.what}: {figure.measured} (goal {figure.goal})"


def _markdown(outcome: Outcome, machine: dict[str, str]) -> str:
    lines = [f"# {outcome.suite}", "", "; ".join(f"{key} {is_}" for key, is_ in machine.items())]
    if outcome.figures:
        lines += ["", "| figure | goal | measured | |", "|---|---|---|---|"]
        lines += [
            f"| {one.what} | {one.goal} | {one.measured} | {_MARK[one.reached]} |"
            for one in outcome.figures
        ]
    for table in outcome.tables:
        lines += ["", *_markdown_table(table), "", f"![{table.title}]({_slug(outcome, table)}.svg)"]
    lines += ["", *(f"- missing: {text}" for text in outcome.missing)]
    lines += [f"- doubt: {text}" for text in outcome.doubts]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_table(table: Table) -> list[str]:
    keys = list(dict.fromkeys(key for one in table.series for key in one.notes))
    columns = ["", table.unit, "spread", "ratio", *keys]
    rows = [
        [
            one.label,
            f"**{shown(one.median)}**",
            f"{shown(one.low)} .. {shown(one.high)}",
            _ratio(table, one),
            *(one.notes.get(key, "") for key in keys),
        ]
        for one in table.series
    ]
    body = ["| " + " | ".join(row) + " |" for row in (columns, *rows)]
    body.insert(1, "|---|" + "---:|" * (len(columns) - 1))
    return [f"## {table.title}", *([table.note] if table.note else []), "", *body]


def _slug(outcome: Outcome, table: Table) -> str:
    return outcome.suite + "-" + re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-")
