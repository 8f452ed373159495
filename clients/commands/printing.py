"""Answers for people and for programs: a table on a terminal, aligned text in a pipe, JSON."""

import sys
from collections.abc import Sequence
from typing import Final

import click
import msgspec

COLUMN_GAP: Final = "  "


def print_json(value: object, *, one_line: bool = False) -> None:
    """`one_line` for streams, where each line is one value."""
    text = msgspec.json.encode(_with_whole_seconds(msgspec.to_builtins(value)))
    click.echo(text if one_line else msgspec.json.format(text, indent=2))


def _with_whole_seconds(value: object) -> object:
    """15.0 as 15: that is how the HTTP API writes it, and jq and a shell tell them apart."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _with_whole_seconds(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_with_whole_seconds(inner) for inner in value]
        case _:
            return value


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells)
    else:
        for row in [columns, *cells]:
            click.echo(_aligned(row, _widths(columns, cells)))


def printable(text: str) -> str:
    """Registered text comes from anybody: what would steer the terminal is shown, not sent."""
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text
    )


def seconds(value: float | None) -> str:
    """`never` for None, else whole seconds."""
    return "never" if value is None else f"{value:.0f}s"


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(columns, *rows, strict=True)]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    return COLUMN_GAP.join(padded).rstrip()


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, because rich would read [tags] in brackets as its own mark-up.
        table.add_row(*map(Text, row))
    Console().print(table)
