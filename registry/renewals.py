"""Renewals at any node: here when this node keeps the leases, else passed on to who does."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from .board import Board
from .engine.seam import Engine, Put
from .errors import Unavailable
from .names import RENEWED_PREFIX
from .relay import Passing, RelayListener, Unreached
from .renewed import encode_renewed
from .showing import Showing

CATCH_UP_S_MAX: Final = 0.5
"""How long renewals wait for this node to show what their sender shows."""
RENEWALS_PER_WRITE_MAX: Final = 2_000
"""Names of full length still fit into one request of etcd's."""


class RelayTls(Protocol):
    """Mutual TLS between nodes: contexts that may be other ones after certificates changed."""

    @property
    def server(self) -> ssl.SSLContext: ...

    @property
    def client(self) -> ssl.SSLContext: ...


class Renewals:
    """`address` is where other nodes bring theirs, "" for nowhere."""

    def __init__(
        self,
        engine: Engine,
        node: str,
        board: Board,
        showing: Showing,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._node = node
        self._board = board
        self._showing = showing
        self._clock = clock
        self._closing = False
        self._listener: RelayListener | None = None
        self._passing = Passing(
            engine.identity(), node, engine.keeper, lambda: board.index, self._here, self._beside
        )
        self.address = ""

    @property
    def passed_total(self) -> int:
        """How many another node, the keeper, was told of."""
        return self._passing.passed_total

    @property
    def beside_total(self) -> int:
        """Those of them that went through the engine, because the keeper did not answer."""
        return self._passing.beside_total

    async def listen(self, host: str, port: int, advertised: str, tls: RelayTls | None) -> None:
        """Take renewals from other nodes, who reach this one at the host `advertised`.

        Before the registry starts. Raises `CannotListen`.
        """
        context = tls.server if tls else None
        listener = self._listener = RelayListener(self._engine.identity(), self._for, context)
        await listener.start(host, port)
        if tls is not None:
            self._passing.tls = lambda: tls.client
        bracketed = f"[{advertised}]" if ":" in advertised else advertised
        self.address = f"{bracketed}:{listener.port}"

    async def close(self) -> None:
        self._closing = True
        if self._listener is not None:
            await self._listener.close()
        await self._passing.close()

    async def pass_on(self, keys: Sequence[bytes]) -> list[int]:
        """Positions of those that the keeper does not know. Raises `Unavailable`."""
        if self._closing:
            raise Unavailable("shutting_down", "this node is shutting down; ask another")
        try:
            return await self._passing.renew(keys)
        except Unreached as error:
            raise Unavailable("no_quorum", f"not renewed: {error}") from error

    def _here(self, keys: Sequence[bytes]) -> list[int] | None:
        """None when another node keeps the leases."""
        if not self._board.keeps_leases:
            return None
        now_s = self._clock()
        renew = self._board.renew_key
        return [position for position, key in enumerate(keys) if not renew(key, now_s)]

    async def _for(self, index: int, keys: Sequence[bytes]) -> list[int] | None:
        """For another node, which shows `index`: what it has just registered must be known."""
        if self._board.keeps_leases and self._board.index < index:
            with suppress(TimeoutError):
                async with asyncio.timeout(CATCH_UP_S_MAX):
                    await self._showing.wait(index)
        return self._here(keys)

    async def _beside(self, keys: Sequence[bytes]) -> list[int]:
        """Through the engine. Raises `EngineError`."""
        slot = RENEWED_PREFIX + self._node.encode()
        for start in range(0, len(keys), RENEWALS_PER_WRITE_MAX):
            some = keys[start : start + RENEWALS_PER_WRITE_MAX]
            await self._engine.commit([Put(slot, encode_renewed(some))])
        revision_of = self._board.revision_of
        return [position for position, key in enumerate(keys) if revision_of(key) is None]
