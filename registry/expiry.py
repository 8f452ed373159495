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
from .engine.seam import (
    ABSENT,
    Delete,
    Done,
    Engine,
    EngineError,
    Guard,
    OutcomeUnknown,
    Superseded,
)
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
        """Delete everything that has run out by now. Raises `Superseded`."""
        run_out = self._board.leases.run_out(self._clock())
        while some := dict(islice(run_out, DELETES_PER_COMMIT_MAX)):
            await self._delete(some, guard)

    async def _delete(self, ttls_s: dict[bytes, float], guard: Guard) -> None:
        """Delete these keys. What is done or lost to another change ceases to be `expiring`
        when the board shows that change, perhaps later than the engine answers."""
        revision_of = self._board.revision_of
        deletes = [Delete(key, revision_of(key) or ABSENT, expired=True) for key in ttls_s]
        self._board.expiring.update(ttls_s)
        try:
            results = await self._engine.commit(deletes, guard)
        except EngineError as error:
            if not isinstance(error, OutcomeUnknown):
                self._board.expiring.difference_update(ttls_s)
            self._put_off(deletes, ttls_s)
            if isinstance(error, Superseded):
                raise
            _log.warning("expiry of %d leases put off: %s", len(deletes), error)
        else:
            self.expired_total += sum(isinstance(result, Done) for result in results)

    def _put_off(self, deletes: list[Delete], ttls_s: dict[bytes, float]) -> None:
        """Try again later, unless the registration has been replaced meanwhile."""
        now_s = self._clock()
        for key, revision, _ in deletes:
            if self._board.revision_of(key) == revision:
                self._board.leases.set_deadline(key, ttls_s[key], now_s + RETRY_S, now_s)
