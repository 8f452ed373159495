"""Taking off what was not renewed: a guarded, conditional delete of exactly what had run out.

The delete names the (key, revision) pairs whose leases ran out. A registration that was
replaced meanwhile has another revision and stays. One that is renewed while its delete is on
the way is told that it is unknown, so that its owner registers again.
"""

import asyncio
import logging
from collections.abc import Callable
from itertools import islice
from typing import Final

from .board import Board
from .engine.seam import Delete, Engine, EngineError, Guard, Superseded
from .leases import TICK_S

DELETES_PER_COMMIT_MAX: Final = 1000
"""Many expiries at once must not make other writers wait for one huge transaction."""

RETRY_S: Final = 1.0
"""How long an expiry that the engine refused waits: a full disk is not freed by asking faster."""

_log: Final = logging.getLogger("callboard.registry")


class Expiry:
    """Sweeps the leases of `board` every tick, for as long as this node is the keeper."""

    def __init__(self, engine: Engine, board: Board, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._board = board
        self._clock = clock
        self.expired_total = 0

    async def run(self, guard: Guard) -> None:
        """Sweep until cancelled. Raises `Superseded` when another keeper has been elected."""
        while True:
            await asyncio.sleep(TICK_S)
            await self.sweep(guard)

    async def sweep(self, guard: Guard) -> None:
        """Delete everything that has run out by now."""
        run_out = self._board.leases.run_out(self._clock())
        while some := list(islice(run_out, DELETES_PER_COMMIT_MAX)):
            await self._delete(some, guard)

    async def _delete(self, leases: list[tuple[bytes, float]], guard: Guard) -> None:
        deletes = []
        for key, _ in leases:
            revision = self._board.revision_of(key)
            if revision is not None:
                deletes.append(Delete(key, revision, expired=True))
        keys = {delete.key for delete in deletes}
        self._board.expiring |= keys
        try:
            results = await self._engine.commit(deletes, guard)
        except Superseded:
            raise
        except EngineError as error:
            _log.warning("expiry of %d leases put off: %s", len(leases), error)
            self._put_off(leases)
        else:
            self.expired_total += len(results)
        finally:
            self._board.expiring -= keys

    def _put_off(self, leases: list[tuple[bytes, float]]) -> None:
        now_s = self._clock()
        for key, ttl_s in leases:
            if key not in self._board.leases and self._board.revision_of(key) is not None:
                self._board.leases.set_deadline(key, ttl_s, now_s + RETRY_S, now_s)
