"""Linearizable reads, many callers to one, and how long ago the last of them was."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from ..seam import EngineError, Refused
from .connection import CALL_S_MAX, Connection
from .feed import Feed, Position, read_position
from .layout import Layout

PROBE_S: Final = 0.5
"""How often a majority is asked when nobody else does: what staleness is at most, on good days,
and half the time after which a silent member is left."""
PROBE_AGAIN_S: Final = 0.1
"""The same while nobody answers: a write that waits for an election waits for this, too."""
ELECTION_S_MAX: Final = 1.5
"""How long a read is repeated before it counts as failed: a leader is replaced in about one."""
CONFIRM_S_MAX: Final = 2 * CALL_S_MAX
"""With a second member to ask when the first is silent."""

_log: Final = logging.getLogger("callboard.etcd")


class Confirmer:
    """`reason` says why a majority could not be asked the last time, and is "" otherwise."""

    def __init__(self, connection: Connection, layout: Layout, feed: Feed) -> None:
        self._connection = connection
        self._layout = layout
        self._feed = feed
        self._loop = asyncio.get_running_loop()
        self._round: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None
        self._fresh_at = self._loop.time()
        self.reason = ""

    def staleness_ms(self) -> float:
        """Since the last moment at which the history held all that a majority had."""
        return (self._loop.time() - self._fresh_at) * 1000

    async def confirm(self) -> int:
        """The board's revision at a moment after this call, shown by the history. Raises
        `Refused`."""
        if self._round is None or self._round.done():
            self._round = self._begin(self._confirm())
            return await asyncio.shield(self._round)
        if self._next is None:
            self._next = self._begin(self._after(self._round))
        return await asyncio.shield(self._next)

    def _begin(self, reading: Coroutine[Any, Any, int]) -> asyncio.Task[int]:
        task = asyncio.create_task(reading, name="etcd-confirm")
        # All who wait may be cancelled, and nobody left to hear that it failed.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _after(self, under_way: asyncio.Task[int]) -> int:
        """The round under way began before its caller came: theirs is the one after it."""
        await asyncio.wait([under_way])
        self._round, self._next = self._next, None
        return await self._confirm()

    async def _confirm(self) -> int:
        asked_at, delivered = self._loop.time(), self._feed.delivered
        try:
            async with asyncio.timeout(CONFIRM_S_MAX):
                position = await self._read(asked_at)
                _check_grown(delivered, position)
                await self._feed.reach(position.board)
        except TimeoutError:
            self._feed.follow_anew()
            self._say("no majority of etcd answers in time")
            raise Refused(self.reason) from None
        except EngineError as error:
            self._say(str(error))
            raise Refused(self.reason) from error
        self._say("")
        self._feed.reflected(position)
        self._fresh_at = max(self._fresh_at, asked_at)
        return self._feed.history.revision

    async def _read(self, asked_at: float) -> Position:
        """Over an election, unless it is known already that nobody answers."""
        while True:
            try:
                return await read_position(self._connection, self._layout)
            except EngineError:
                if self.reason or self._loop.time() - asked_at > ELECTION_S_MAX:
                    raise
            await asyncio.sleep(PROBE_AGAIN_S)

    def _say(self, reason: str) -> None:
        """Once for each change, and not for each question."""
        if reason and not self.reason:
            _log.warning("no majority stands behind this node: %s", reason)
        elif self.reason and not reason:
            _log.info("a majority of etcd answers again")
        self.reason = reason

    async def run(self) -> None:
        """Confirm again and again until cancelled, so that staleness is known."""
        while True:
            try:
                await self.confirm()
            except Refused as error:
                _log.debug("no confirmation: %s", error)
            await asyncio.sleep(PROBE_AGAIN_S if self.reason else PROBE_S)

    async def close(self) -> None:
        for task in (self._round, self._next):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._round = self._next = None


def _check_grown(delivered: int, position: Position) -> None:
    """What had been delivered before a majority was asked is in its answer; unless a copy was
    restored, which has numbers of its own: what is shown here is not its past."""
    if position.store < delivered:
        raise Refused(
            f"etcd has gone back from revision {delivered} to {position.store}, as if an older"
            " copy had been restored: restart this node"
        )
