"""Committing: one transaction under way at a time, and meanwhile the next is gathered.

Two under way could overtake each other inside etcd, and calls take effect in the order in which
they are made. What may have been applied is never sent again.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from ..seam import (
    EngineError,
    Guard,
    Operation,
    OutcomeUnknown,
    Refused,
    Result,
    Superseded,
)
from .connection import Connection
from .errors import NotReached
from .feed import Feed
from .layout import Layout
from .transactions import NESTED_OPERATIONS_MAX, Call, Transaction

WRITE_S_MAX: Final = 4.0
"""A transaction that takes longer has an unknown outcome. An election takes about one second."""
RETRY_S: Final = 0.05
"""Between two attempts of what certainly has not been applied."""
SHOWN_S_MAX: Final = 1.0
"""How long an answer waits for the watch to show what it says. Then it is given all the same:
the write is done, and a watch that broke off catches up."""
WAITING_OPERATIONS_MAX: Final = 131_072
"""Accepted and not yet answered: seconds of work. More are refused at once."""
WAITING_BYTES_MAX: Final = 256 * 1024 * 1024
"""The same for large values."""

_SUPERSEDED: Final = "another node keeps the leases now"


class _Waiting(Call):
    __slots__ = ("answer",)

    def __init__(
        self,
        operations: Sequence[Operation],
        guard: Guard | None,
        answer: asyncio.Future[list[Result]],
    ) -> None:
        super().__init__(operations, guard)
        self.answer = answer


class Committer:
    """`refused` says why the last write was not done, and is "" otherwise."""

    def __init__(
        self, connection: Connection, layout: Layout, feed: Feed, operations_max: int
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._feed = feed
        self._operations_max = operations_max - NESTED_OPERATIONS_MAX
        self._loop = asyncio.get_running_loop()
        self._calls: deque[Call] = deque()
        self._waiting_operations = 0
        self._waiting_bytes = 0
        self._sending: asyncio.Task[None] | None = None
        self._showing: set[asyncio.Task[None]] = set()
        self._closing = False
        self._reached_at = self._loop.time()
        self.refused = ""

    def commit(
        self, operations: Sequence[Operation], guard: Guard | None
    ) -> asyncio.Future[list[Result]]:
        """Raises `Refused`; the answer may raise the others, too."""
        if self._closing:
            raise Refused("this node is stopping")
        if (
            self._waiting_operations >= WAITING_OPERATIONS_MAX
            or self._waiting_bytes >= WAITING_BYTES_MAX
        ):
            raise Refused("too many writes are waiting for etcd: try again later")
        answer: asyncio.Future[list[Result]] = self._loop.create_future()
        if not operations:
            answer.set_result([])
            return answer
        call = _Waiting(operations, guard, answer)
        self._waiting_operations += len(operations)
        self._waiting_bytes += call.size_bytes
        self._calls.append(call)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="etcd-commit")
        return answer

    async def _send(self) -> None:
        try:
            while self._calls:
                transaction = Transaction(self._calls[0].guard)
                transaction.take(self._calls, self._operations_max)
                try:
                    await self._transact(transaction)
                except EngineError as error:
                    self._fail(transaction, error)
        finally:
            self._sending = None

    async def _transact(self, transaction: Transaction) -> None:
        response = await self._apply(transaction.request(self._layout))
        if not response.succeeded:
            raise Superseded(_SUPERSEDED)
        wrote = transaction.read(response)
        done = [call for call, _, stop in transaction.parts if stop == len(call.operations)]
        if wrote and self._feed.seen < response.header.revision:
            showing = asyncio.create_task(self._show(done, response.header.revision))
            self._showing.add(showing)
            showing.add_done_callback(self._showing.discard)
        else:
            self._answer(done)

    async def _apply(self, request: Any) -> Any:
        """Send until somebody takes it. Raises `EngineError`."""
        while True:
            try:
                response = await self._connection.call(
                    lambda at: at.kv.Txn, request, timeout_s=WRITE_S_MAX
                )
            except NotReached as error:
                self.refused = str(error)
                if self._loop.time() - self._reached_at > WRITE_S_MAX or self._closing:
                    raise
                await asyncio.sleep(RETRY_S)
            except EngineError as error:
                self.refused = str(error)
                raise
            else:
                self._reached_at = self._loop.time()
                self.refused = ""
                return response

    async def _show(self, done: list[Call], revision: int) -> None:
        """Watchers first: who has its answer may rely on the watcher being told already."""
        try:
            async with asyncio.timeout(SHOWN_S_MAX):
                await self._feed.reach(revision)
        except TimeoutError:
            pass
        finally:
            self._answer(done)

    def _answer(self, done: list[Call]) -> None:
        for call in done:
            assert isinstance(call, _Waiting)
            self._release(call)
            if not call.answer.done():
                call.answer.set_result(call.results)

    def _fail(self, transaction: Transaction, error: EngineError) -> None:
        for call, _, stop in transaction.parts:
            assert isinstance(call, _Waiting)
            if stop < len(call.operations):
                self._calls.popleft()  # its other operations must not be done without these
            self._release(call)
            if call.answer.done():
                continue
            if call.applied and not isinstance(error, OutcomeUnknown):
                text = f"only a part of the call was applied, and then: {error}"
                call.answer.set_exception(OutcomeUnknown(text))
            else:
                call.answer.set_exception(type(error)(str(error)))

    def _release(self, call: Call) -> None:
        self._waiting_operations -= len(call.operations)
        self._waiting_bytes -= call.size_bytes

    async def close(self) -> None:
        """Finish what was accepted."""
        self._closing = True
        if self._sending is not None:
            await asyncio.wait([self._sending])
        if self._showing:
            await asyncio.wait(self._showing)
