"""One writer process after the other: one that was killed is followed by another.

One that stops by its own word has none to follow it: it has met a sync that failed, or a disk that
cannot be written, and must not try again. SIGKILL says nothing about the disk. What the killed one
had not synced its successor does not see, for the reader's connection outlives it (`Reader`); what
it had synced and not told, watchers find by loading again.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from .history import History
from .link import GONE, NO_MORE, WriterLink
from .seam import CannotStart, Operation, Refused, Result

RESTART_DELAYS_S: Final = (0.0, 0.1, 1.0, 5.0, 10.0)
"""Before each new try. When all are used up, something is wrong that no try will mend."""
STEADY_S: Final = 60.0
"""A writer that has lived so long has nothing to do with the deaths before it."""

_log: Final = logging.getLogger("callboard.engine")


class Writers:
    """What `WriterLink` is for one writer; `history` goes on from one to the next."""

    def __init__(self, data_dir: Path, link: WriterLink, history: History) -> None:
        """Only for `start`."""
        self._data_dir = data_dir
        self._link = link
        self._closing = asyncio.Event()
        self._ailment = ""
        self.history = history
        self._following = asyncio.create_task(self._follow(), name="sqlite-writers")

    @classmethod
    async def start(cls, data_dir: Path) -> "Writers":
        """Raises `CannotStart`."""
        link = await WriterLink.start(data_dir)
        link.history = History(link.revision)
        return cls(data_dir, link, link.history)

    @property
    def stopped(self) -> str:
        """Why nothing is written now, be it for good; "" when it is."""
        return self._ailment or self._link.stopped

    @property
    def refused(self) -> str:
        """Why a write was refused lately, and none taken since; "" when none was."""
        return self._link.refused

    def commit(self, operations: Sequence[Operation]) -> asyncio.Future[list[Result]]:
        """Raises `Refused`, `OutcomeUnknown`."""
        if self._ailment:
            raise Refused(self._ailment)
        return self._link.commit(operations)

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        tries = 0
        while True:
            began = loop.time()
            await self._link.gone
            if self._closing.is_set() or self._link.has_stopped:
                return
            self._ailment = GONE
            if not await self._link.was_killed():
                tries = len(RESTART_DELAYS_S)
            elif loop.time() - began > STEADY_S:
                tries = 0
            while self._ailment:
                if tries == len(RESTART_DELAYS_S):
                    self._ailment += f". {NO_MORE}"
                    _log.critical("%s", self._ailment)
                    return
                _log.error("%s: starting another", self._ailment)
                await self._try_again(RESTART_DELAYS_S[tries])
                tries += 1
                if self._closing.is_set():
                    return

    async def _try_again(self, delay_s: float) -> None:
        """Clears `_ailment`, or says there what came in between."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), delay_s)
            return
        try:
            link = await WriterLink.start(self._data_dir)
        except (CannotStart, OSError) as error:
            self._ailment = f"{GONE}, and no other starts: {error}"
            return
        self._link = link
        if link.revision < self.history.revision:
            self._ailment = f"{GONE}, and what was written after revision {link.revision}, too"
            await link.close()
            return
        if link.revision > self.history.revision:
            self.history.restart(link.revision)
        link.history = self.history
        self._ailment = ""

    async def close(self) -> None:
        """Finish what was accepted, and end the writer."""
        self._closing.set()
        await self._link.close()
        await self._following
        await self._link.close()
        self.history.close()
