"""A node's renewals on their way to the keeper: gathered, sent, answered."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from ..engine.seam import EngineError, Keeper
from .messages import (
    RENEWALS_MAX,
    Garbage,
    Hello,
    NotKeeper,
    Renew,
    decode_answer,
    encode,
    read_payload,
)

GATHER_S: Final = 0.002
"""Renewals that come within it share a message; what a client waits for anyway is longer."""
RENEW_S_MAX: Final = 4.0
"""An election of another keeper may come between; a client's own limit is longer."""
DIRECT_S_MAX: Final = 1.0
"""A keeper that takes longer to answer is away, or cut off from this node alone."""
LOOK_AGAIN_S: Final = 0.05
"""Between two looks for a keeper while there is none."""


class Unreached(Exception):
    """No keeper has answered in time: some may have been renewed, none is known to be gone."""


class _Waiting(NamedTuple):
    keys: Sequence[bytes]
    answer: "asyncio.Future[list[int]]"
    until: float
    """When its caller is told that nobody has answered, however many waited before it."""


class Passing:
    """`renew` from anywhere; `close` at the end. Belongs to the event loop's thread.

    `keeper` tells who keeps the leases. `here` renews when that is this node, by now; `beside`
    does it through the engine, for a keeper that others reach and this node does not. All
    three ways give the positions of the unknown.
    """

    def __init__(
        self,
        cluster: str,
        node: str,
        keeper: Callable[[], Keeper | None],
        index: Callable[[], int],
        here: Callable[[Sequence[bytes]], list[int] | None],
        beside: Callable[[Sequence[bytes]], Awaitable[list[int]]],
    ) -> None:
        self.tls: Callable[[], ssl.SSLContext] | None = None
        self.passed_total = 0
        """How many another node, the keeper, was told of."""
        self.beside_total = 0
        """How many of them went through the engine."""
        self._hello = encode(Hello(cluster, node))
        self._keeper = keeper
        self._index = index
        self._here = here
        self._beside = beside
        self._waiting: list[_Waiting] = []
        self._sending: asyncio.Task[None] | None = None
        self._address = ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def renew(self, keys: Sequence[bytes]) -> list[int]:
        """Positions of those that are not registered. Raises `Unreached`."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[int]] = loop.create_future()
        self._waiting.append(_Waiting(keys, answer, loop.time() + RENEW_S_MAX))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="registry-renewals")
        return await answer

    async def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        self._disconnect()

    async def _send(self) -> None:
        """Until nothing waits any more; one message at a time, so that many gather behind it."""
        try:
            while self._waiting:
                await asyncio.sleep(GATHER_S)
                await self._settle(self._next_group())
        finally:
            self._sending = None
            for waiting in self._waiting:
                _fail(waiting, "this node is stopping")
            self._waiting.clear()

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0].keys) <= RENEWALS_MAX):
            group.append(self._waiting.pop(0))
            size += len(group[-1].keys)
        return group

    async def _settle(self, group: list[_Waiting]) -> None:
        keys = [key for waiting in group for key in waiting.keys]
        try:
            unknown = set(await self._ask(keys, group[0].until))
        except Unreached as error:
            self._give_up(group, str(error))
            return
        except BaseException:
            for waiting in group:
                _fail(waiting, "this node is stopping, or has a defect")
            raise
        start = 0
        for waiting in group:
            count = len(waiting.keys)
            if not waiting.answer.done():
                waiting.answer.set_result([at for at in range(count) if start + at in unknown])
            start += count

    def _give_up(self, group: list[_Waiting], reason: str) -> None:
        """On those whose time is over, also behind this group; the others are tried again."""
        now = asyncio.get_running_loop().time()
        waiting = group + self._waiting
        self._waiting = [each for each in waiting if each.until > now]
        for each in waiting:
            if each.until <= now:
                _fail(each, reason)

    async def _ask(self, keys: list[bytes], deadline: float) -> list[int]:
        loop = asyncio.get_running_loop()
        told = "no node keeps the leases right now"
        while loop.time() < deadline:
            if (unknown := self._here(keys)) is not None:
                return unknown
            keeper = self._keeper()
            if keeper is not None and keeper.address:
                try:
                    if (unknown := await self._directly(keeper.address, keys)) is not None:
                        return unknown
                except (OSError, EOFError, TimeoutError, Garbage, ssl.SSLError) as error:
                    self._disconnect()
                    told = f"the keeper {keeper.name!r} does not answer: {error}"
                    if (found := await self._through_engine(keys, deadline)) is not None:
                        return found
            await asyncio.sleep(LOOK_AGAIN_S)
        raise Unreached(told)

    async def _directly(self, address: str, keys: list[bytes]) -> list[int] | None:
        """None when the node there is not the keeper."""
        async with asyncio.timeout(DIRECT_S_MAX):
            reader, writer = await self._connected(address)
            writer.write(encode(Renew(self._index(), keys)))
            await writer.drain()
            answer = decode_answer(await read_payload(reader))
        if isinstance(answer, NotKeeper):
            return None
        self.passed_total += len(keys)
        return answer.unknown

    async def _through_engine(self, keys: list[bytes], deadline: float) -> list[int] | None:
        """None when the engine does not take it either, or perhaps has not."""
        try:
            async with asyncio.timeout_at(deadline):
                unknown = await self._beside(keys)
        except (EngineError, TimeoutError):
            return None
        self.passed_total += len(keys)
        self.beside_total += len(keys)
        return unknown

    async def _connected(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        streams = self._streams
        if streams is not None and self._address == address and not streams[0].at_eof():
            return streams
        self._disconnect()
        host, _, port = address.rpartition(":")
        if not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise Garbage(f"{address!r} is no address of a node")
        self._streams = await asyncio.open_connection(
            host.strip("[]"), int(port), ssl=self.tls() if self.tls else None
        )
        self._address = address
        self._streams[1].write(self._hello)
        return self._streams

    def _disconnect(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


def _fail(waiting: _Waiting, reason: str) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(Unreached(reason))
