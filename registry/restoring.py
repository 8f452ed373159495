"""Reading a snapshot file and finding what would make the board the same."""

import asyncio
from collections.abc import Iterator, Sequence

from .board import Board
from .engine.seam import Delete, Operation, Pair, Put
from .engine.snapshot import SnapshotDamaged, read_snapshot
from .errors import InvalidInput
from .instance import DamagedValue


async def restore_operations(path: str, board: Board) -> list[Operation]:
    """The puts and deletes that turn `board` into what the file holds.

    Raises `InvalidInput` for a file that is no snapshot, is damaged, or holds what this
    version cannot read: then nothing has been changed.
    """
    operations: list[Operation] = []
    held: set[bytes] = set()
    check = Board()
    try:
        pages = read_snapshot(path)
        while (page := await asyncio.to_thread(_next_page, pages)) is not None:
            check.load(page, 0.0)
            operations += [Put(pair.key, pair.value) for pair in page]
            held.update(pair.key for pair in page)
    except (SnapshotDamaged, DamagedValue) as error:
        raise InvalidInput("snapshot", f"{error}; nothing was changed") from error
    # Only now: what came while the file was read is not in it, either.
    gone = set(board.keys()) - held
    return [*map(Delete, gone), *operations]


def _next_page(pages: Iterator[Sequence[Pair]]) -> Sequence[Pair] | None:
    return next(pages, None)
