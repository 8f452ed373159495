"""The nodes of the cluster, and changing them: one at a time, by agreement of the majority."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Final

from .engine.seam import Engine, EngineError, Member, OutcomeUnknown
from .engine.seam import StandsAlone as EngineStandsAlone
from .errors import ChangeRefused, StandsAlone, Unavailable, UnknownMember

NEXT_KEEPER_S_MAX: Final = 3.0
"""An election among nodes that are there takes a fraction of it."""
LOOK_S: Final = 0.05


class Membership:
    """Raises `StandsAlone`, `ChangeRefused`, `UnknownMember` and `Unavailable`."""

    def __init__(self, engine: Engine, node: str) -> None:
        self._engine = engine
        self._node = node

    async def members(self) -> list[Member]:
        return await self._engine.members()

    async def add(self, name: str, address: str) -> list[Member]:
        """`address` is where the others reach its raft; all members then."""
        await self._change(self._engine.add_member(name, address))
        return await self.members()

    async def remove(self, name: str) -> None:
        if name not in {known for member in await self.members() for known in member[:2]}:
            raise UnknownMember(f"{name[:80]!r} is no member")
        await self._change(self._engine.remove_member(name))

    async def transfer(self) -> tuple[str, str]:
        """Hand on what this node has; who keeps the leases then, and who leads."""
        with self._named():
            leader = await self._engine.transfer_leadership()
            await self._engine.resign()
        keeper = ""
        try:
            async with asyncio.timeout(NEXT_KEEPER_S_MAX):
                while keeper in {"", self._node}:
                    await asyncio.sleep(LOOK_S)
                    found = self._engine.keeper()
                    keeper = "" if found is None else found.name
        except TimeoutError:
            pass  # nobody else has come forward: what is so is answered
        return keeper, leader

    async def _change(self, change: Awaitable[None]) -> None:
        with self._named():
            await change

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except EngineStandsAlone as error:
            raise StandsAlone(str(error)) from error
        except OutcomeUnknown as error:
            raise Unavailable("outcome_unknown", str(error)) from error
        except EngineError as error:
            if not self._engine.status().writable:
                raise Unavailable("no_quorum", str(error)) from error
            raise ChangeRefused(str(error)) from error
