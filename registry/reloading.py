"""Finding what makes the board what the engine holds now, after changes were lost."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from .board import Board
from .engine.seam import ABSENT, Change, Compacted, Engine, Pair, Refused

AGAIN_S: Final = 1.0
"""An engine that cannot be read is asked again: meanwhile the board stands as it was."""

_log: Final = logging.getLogger("callboard.registry")


async def lost_changes(engine: Engine, board: Board) -> tuple[int, Sequence[Change]]:
    """The engine's revision, and the changes that bring `board` there."""
    while True:
        try:
            return await _difference(engine, board)
        except (Refused, Compacted) as error:
            _log.warning("loading again failed, the board stands as it was: %s", error)
            await asyncio.sleep(AGAIN_S)


async def _difference(engine: Engine, board: Board) -> tuple[int, Sequence[Change]]:
    revision, pages = await engine.load()
    gone = set(board.keys())
    changed: list[Pair] = []
    async for page in pages:
        for pair in page:
            gone.discard(pair.key)
            if board.revision_of(pair.key) != pair.modify_revision:
                changed.append(pair)
    changed.sort(key=lambda pair: pair.modify_revision)
    # When the others went is not known: last of all, so that indices only grow.
    return revision, [
        *(Change(p.key, p.value, p.modify_revision, p.create_revision) for p in changed),
        *(Change(key, None, revision, ABSENT) for key in gone),
    ]
