"""A copy of all pairs as of one revision, in pages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from ..seam import Compacted, OutcomeUnknown, Pair, Refused
from .callboard_etcd_pb2 import RangeRequest
from .connection import Connection
from .errors import NotReached
from .feed import read_position
from .layout import Layout
from .methods import RANGE

FIRST_PAIRS: Final = 100
"""Nothing is known yet of the size of the values: 100 of the largest are 50 MiB."""
ASKED_PAIRS_MAX: Final = 20_000
"""etcd 3.4 counts all that follow for each question: few questions, and small ones at first."""
ASKED_BYTES_SOUGHT: Final = 4 * 1024 * 1024
"""Fewer pairs are asked for when their values are large."""
PAGE_PAIRS: Final = 5_000
"""About 5 ms of work: the event loop hears of each page, and not of each pair."""
ATTEMPTS_MAX: Final = 5
"""How often a load begins anew because its revision was compacted before its first page came."""
ELECTIONS_S_MAX: Final = 10.0
"""A load goes on over a few elections: it may take as long as one, and a node that starts while
the others restart must not give up for it."""
ASK_AGAIN_S: Final = 0.1

_COMPACTED: Final = "required revision has been compacted"

T = TypeVar("T")


class Loader:
    """Begins loads; after `close` those that are under way raise `Refused`."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection = connection
        self._layout = layout
        self._closed = False

    async def load(self) -> tuple[int, AsyncIterator[Sequence[Pair]]]:
        """The board's revision and its pairs. Raises `Refused`.

        The pages raise it too, and `Compacted` when etcd threw the revision away meanwhile: what
        came before must not be mixed with what another load brings.
        """
        for _ in range(ATTEMPTS_MAX):
            store, board = await self._read_position()
            try:
                first, more = await self._page(self._layout.pairs, store, FIRST_PAIRS)
            except Compacted:
                continue
            if first and not board:  # written by somebody who does not know of `last`
                board = store
            return board, self._pages(first, store, more=more)
        raise Refused("etcd compacts its history faster than it can be read")

    async def _read_position(self) -> tuple[int, int]:
        return await self._asked(lambda: read_position(self._connection, self._layout))

    async def _pages(
        self, page: list[Pair], store: int, *, more: bool
    ) -> AsyncIterator[Sequence[Pair]]:
        """Etcd looks for what follows while a page is read."""
        while page:
            following = None
            if more:
                start = self._layout.pairs + page[-1].key + b"\0"
                following = asyncio.create_task(self._page(start, store, _next_limit(page)))
            try:
                for at in range(0, len(page), PAGE_PAIRS):
                    await asyncio.sleep(0)
                    yield page[at : at + PAGE_PAIRS]
                if following is None:
                    return
                page, more = await following
            finally:
                if following is not None:
                    following.cancel()  # of no use to who asks for no more
                    await asyncio.gather(following, return_exceptions=True)

    async def _page(self, start: bytes, store: int, limit: int) -> tuple[list[Pair], bool]:
        """Pairs from `start` on, and whether there are more."""
        request = RangeRequest(
            key=start, range_end=self._layout.pairs_end, revision=store, limit=limit
        )
        try:
            answer = await self._asked(lambda: self._connection.call_any(RANGE, request))
        except Refused as error:
            if _COMPACTED in str(error):
                raise Compacted("etcd compacted its history while it was read") from error
            raise
        cut = len(self._layout.pairs)
        page = [
            Pair(kv.key[cut:], kv.value, kv.create_revision, kv.mod_revision) for kv in answer.kvs
        ]
        return page, answer.more

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What only reads may be asked again while nobody leads."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ELECTIONS_S_MAX
        while True:
            if self._closed:
                raise Refused("this node is stopping")
            try:
                return await ask()
            except (NotReached, OutcomeUnknown) as error:
                if loop.time() >= deadline:
                    raise Refused(str(error)) from error
            await asyncio.sleep(ASK_AGAIN_S)

    def close(self) -> None:
        self._closed = True


def _next_limit(page: Sequence[Pair]) -> int:
    size_bytes = sum(len(pair.key) + len(pair.value) for pair in page)
    return max(1, min(ASKED_PAIRS_MAX, ASKED_BYTES_SOUGHT * len(page) // size_bytes))
