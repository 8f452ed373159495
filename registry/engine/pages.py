"""Reading all pairs of a board or a snapshot in pages, each row and the whole checked."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from .layout import DIGEST_MODULUS, SELECT_PAIRS, Damaged, Summary, check_row
from .seam import Pair

PAGE_PAIRS: Final = 5_000
"""About 20 ms of reading: the event loop hears of each page, and not of each pair."""


def checked_pages(connection: sqlite3.Connection, summary: Summary) -> Iterator[Sequence[Pair]]:
    """Every pair in order of its key. Raises `Damaged`, at the latest after the last page.

    `connection` is in the read transaction that `summary` was read in.
    """
    cursor = connection.execute(SELECT_PAIRS)
    count = digest = 0
    while rows := cursor.fetchmany(PAGE_PAIRS):
        page = [check_row(row) for row in rows]
        count += len(rows)
        digest += sum(row[4] for row in rows)
        yield page
    if (count, digest % DIGEST_MODULUS) != (summary.pairs, summary.digest):
        raise Damaged(
            f"pairs are missing, doubled or out of date: {count} of {summary.pairs} were found"
        )
