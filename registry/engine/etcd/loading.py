"""A copy of all pairs as of one revision, in pages."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from aetcd.rpc import RangeRequest

from ..seam import Compacted, OutcomeUnknown, Pair, Refused
from .connection import Connection
from .feed import read_position
from .layout import Layout

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

_COMPACTED: Final = "required revision has been compacted"


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
        self._check_open()
        try:
            return await read_position(self._connection, self._layout)
        except OutcomeUnknown as error:
            raise Refused(str(error)) from error

    async def _pages(
        self, page: list[Pair], store: int, *, more: bool
    ) -> AsyncIterator[Sequence[Pair]]:
        while page:
            for start in range(0, len(page), PAGE_PAIRS):
                yield page[start : start + PAGE_PAIRS]
            if not more:
                return
            limit = _next_limit(page)
            page, more = await self._page(self._layout.pairs + page[-1].key + b"\0", store, limit)

    async def _page(self, start: bytes, store: int, limit: int) -> tuple[list[Pair], bool]:
        """Pairs from `start` on, and whether there are more."""
        self._check_open()
        request = RangeRequest(
            key=start, range_end=self._layout.pairs_end, revision=store, limit=limit
        )
        try:
            answer = await self._connection.call_any(lambda at: at.kv.Range, request)
        except (Refused, OutcomeUnknown) as error:
            if _COMPACTED in str(error):
                raise Compacted("etcd compacted its history while it was read") from error
            raise Refused(str(error)) from error
        cut = len(self._layout.pairs)
        page = [
            Pair(kv.key[cut:], kv.value, kv.create_revision, kv.mod_revision) for kv in answer.kvs
        ]
        return page, answer.more

    def _check_open(self) -> None:
        if self._closed:
            raise Refused("this node is stopping")

    def close(self) -> None:
        self._closed = True


def _next_limit(page: Sequence[Pair]) -> int:
    size_bytes = sum(len(pair.key) + len(pair.value) for pair in page)
    return max(1, min(ASKED_PAIRS_MAX, ASKED_BYTES_SOUGHT * len(page) // size_bytes))
