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
    Put,
    Superseded,
)
from .hold_record import encode_held
from .leases import TICK_S
from .mass_expiry import MassExpiry
from .names import HELD_KEY

DELETES_PER_COMMIT_MAX: Final = 1000
"""Many expiries at once must not make other writers wait for one huge transaction."""

RECORD_S: Final = 10.0
"""How much of a hold may be forgotten with its keeper."""

RETRY_S: Final = 1.0
"""How long an expiry that the engine refused waits: a full disk is not freed by asking faster."""

_log: Final = logging.getLogger("callboard.registry")


class Expiry:
    """Sweeps the leases of `board` every tick, for as long as this node is the keeper."""

    def __init__(
        self, engine: Engine, board: Board, clock: Callable[[], float], mass: MassExpiry
    ) -> None:
        self._engine = engine
        self._board = board
        self._clock = clock
        self._mass = mass
        self.expired_total = 0
        self.held_back_total = 0

    @property
    def held_back(self) -> int:
        """How many silent leases the mass-expiry guard holds back right now."""
        deadline_s = self._board.leases.deadline_s
        return sum(deadline_s(key) == until_s for key, until_s in self._mass.held.items())

    def begin(self) -> None:
        """This node keeps the leases from now on: each starts with its full TTL."""
        now_s = self._clock()
        self._board.expiring.clear()
        self._board.leases.restart(now_s)
        self._mass.restart(now_s, self._board.held_s)

    def stand_by(self) -> None:
        """Another node keeps the leases: none runs out here. Now and then, so that leases that
        have gone do not stay filed for ever."""
        now_s = self._clock()
        # A delete under a guard that is lost is done, or never will be.
        self._board.expiring.clear()
        self._board.leases.restart(now_s)
        for key, _ in self._board.leases.run_out(now_s):
            raise AssertionError(f"{key!r} ran out in the moment in which it began anew")

    async def run(self, guard: Guard) -> None:
        """Sweep until cancelled. Raises `Superseded` when another keeper has been elected."""
        while True:
            await asyncio.sleep(TICK_S)
            await self.sweep(guard)

    async def sweep(self, guard: Guard) -> None:
        """Delete everything that has run out by now. Raises `Superseded`."""
        leases, now_s = self._board.leases, self._clock()
        if self._mass.enabled:
            first_due = sum(not self._mass.may_go(key, now_s) for key in leases.due(now_s))
            self._mass.judge(first_due, len(leases), now_s)
        run_out = leases.run_out(now_s)
        while some := dict(islice(run_out, DELETES_PER_COMMIT_MAX)):
            going, held = self._mass.admit(some, now_s)
            for key, until_s in held.items():
                leases.set_deadline(key, some[key], until_s, now_s)
            if held:
                self._say_held(len(held))
            if going:
                await self._delete(going, guard)
        await self._record_hold(guard)

    async def _record_hold(self, guard: Guard) -> None:
        """For the keeper after this one: a hold has an end, however often keepers change."""
        held_s, recorded_s = self._mass.held_s(self._clock()), self._board.held_s
        if bool(held_s) == bool(recorded_s) and held_s - recorded_s < RECORD_S:
            return
        record = Put(HELD_KEY, encode_held(held_s)) if held_s else Delete(HELD_KEY)
        try:
            await self._engine.commit([record], guard)
        except Superseded:
            raise
        except EngineError as error:
            _log.debug("how long leases are held back could not be recorded: %s", error)

    def _say_held(self, count: int) -> None:
        self.held_back_total += count
        _log.warning(
            "so many leases run out as when a network fails: %d more are held back for a while,"
            " and go if they stay silent",
            count,
        )

    async def _delete(self, ttls_s: dict[bytes, float], guard: Guard) -> None:
        """Delete these keys. What is done or lost to another change ceases to be `expiring`
        when the board shows that change, perhaps later than the engine answers."""
        revision_of = self._board.revision_of
        deletes = [Delete(key, revision_of(key) or ABSENT, expired=True) for key in ttls_s]
        self._board.expiring.update(ttls_s)
        try:
            results = await self._engine.commit(deletes, guard)
        except asyncio.CancelledError:
            # The guard was lost meanwhile. Without its lease what is still there would stay for
            # ever, should this node be elected again.
            self._put_off(deletes, ttls_s)
            raise
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
        until_s = now_s + RETRY_S
        still_there = [
            delete.key for delete in deletes if self._board.revision_of(delete.key) == delete.expect
        ]
        for key in still_there:
            self._board.leases.set_deadline(key, ttls_s[key], until_s, now_s)
        self._mass.put_off(still_there, until_s)
