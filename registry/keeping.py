"""Who keeps the leases: this node, when it is elected; otherwise it stands by."""

import asyncio
import logging
from typing import Any, Final

from .board import Board
from .engine.seam import Engine, Guard, Superseded
from .expiry import Expiry

STAND_BY_S: Final = 0.5
"""How often a node that is not the keeper files its leases anew: often enough that none comes
due, and that the clock of leases, which nobody else may ask, does not take it for stopped."""

_log: Final = logging.getLogger("callboard.registry")


class Keeping:
    """`board.elected` while this node has won and nothing says that it has lost."""

    def __init__(self, engine: Engine, node: str, board: Board, expiry: Expiry) -> None:
        self._engine = engine
        self._node = node
        self._board = board
        self._expiry = expiry

    async def run(self, address: str) -> None:
        """For ever: campaign, keep, lose. `address` is where renewals reach this node."""
        # A node alone is never replaced, and has granted every lease as it loaded the board.
        alone = not self._engine.identity()
        while True:
            self._board.elected = alone
            guard = await self._win(address)
            _log.info("this node keeps the leases")
            if not alone:
                self._expiry.begin()
            self._board.elected = True
            await self._keep(guard)
            _log.warning("another node keeps the leases now")

    async def _win(self, address: str) -> Guard:
        campaigning = asyncio.ensure_future(self._engine.campaign(self._node, address))
        try:
            while True:
                done, _ = await asyncio.wait([campaigning], timeout=STAND_BY_S)
                if done:
                    return await campaigning
                self._expiry.stand_by()
        finally:
            await _ended(campaigning)

    async def _keep(self, guard: Guard) -> None:
        """Until the guard is lost: no sweep begins after that."""
        sweeping = asyncio.ensure_future(self._expiry.run(guard))
        holding = asyncio.ensure_future(self._engine.hold(guard))
        try:
            done, _ = await asyncio.wait([sweeping, holding], return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
        except Superseded:
            pass  # somebody else has been elected, and the engine knew first
        finally:
            await _ended(sweeping, holding)


async def _ended(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
