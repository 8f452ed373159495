"""Committing: one transaction under way at a time, and meanwhile the next is gathered.

Two under way could overtake each other inside etcd, and calls take effect in the order in which
they are made. What may have been applied is never sent again.

A transaction costs all nodes together as much as a dozen of the operations in it, so after one of
many calls the next waits a moment for those who were just answered, if they call again at once.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from ..seam import (
    ABSENT,
    NOT_SHOWN,
    EngineError,
    Guard,
    Operation,
    OutcomeUnknown,
    Refused,
    Result,
)
from .callboard_etcd_pb2 import PutRequest
from .connection import Connection
from .errors import Full, NotReached, Unwritable
from .feed import Feed
from .layout import Layout
from .methods import PUT, TXN
from .transactions import NESTED_OPERATIONS_MAX, Call, Request, Response, Transaction

WRITE_S_MAX: Final = 4.0
"""A call that has waited so long is refused, and one that was sent has an unknown outcome. An
election takes about one second."""
SENT_S_MIN: Final = 1.0
"""What a transaction gets even when its calls have waited long: an unknown outcome is worse."""
END_S: Final = 0.1
"""For a call whose time is up to say so."""
ELECTED_S_MAX: Final = 0.25
"""What is under way when a later election is heard of went to a leader that is gone, or is answered
within this."""
UNWRITABLE_S: Final = 10.0
"""How long a refusal is shown: who asks whether this node is ready sends no write to find out."""
RETRY_S: Final = 0.05
"""Between two attempts of what certainly has not been applied."""
GATHER_CALLS_MIN: Final = 4
"""In one transaction: fewer callers than this at a time lose more by waiting than is saved."""
GATHER_S_MAX: Final = 0.01
"""For as many calls as the last transaction had. Who calls again at once does so within this,
on a busy machine too."""
SHOWN_S_MAX: Final = 5.0
"""How long an answer waits for the watch to show what it says: a watch that broke off catches up
within less."""
WAITING_OPERATIONS_MAX: Final = 131_072
"""Accepted and not yet answered: seconds of work. More are refused at once."""
WAITING_BYTES_MAX: Final = 256 * 1024 * 1024
"""The same for large values."""


class _Waiting(Call):
    __slots__ = ("answer", "since")

    def __init__(
        self,
        operations: Sequence[Operation],
        guard: Guard | None,
        answer: asyncio.Future[list[Result]],
        since: float,
    ) -> None:
        super().__init__(operations, guard)
        self.answer = answer
        self.since = since
        """When it was accepted, or last came further."""


class Committer:
    """Owns the queue of calls, and the one task that sends them."""

    def __init__(
        self, connection: Connection, layout: Layout, feed: Feed, operations_max: int
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._feed = feed
        self._operations_max = operations_max - NESTED_OPERATIONS_MAX
        self._loop = asyncio.get_running_loop()
        self._calls: deque[_Waiting] = deque()
        self._waiting_operations = 0
        self._waiting_bytes = 0
        self._sending: asyncio.Task[None] | None = None
        self._under_way: asyncio.Timeout | None = None
        self._showing: set[asyncio.Task[None]] = set()
        self._closing = False
        self._wrote_at = ABSENT
        """The revision of the last transaction that wrote anything."""
        self._enough = asyncio.Event()
        self._gathering_calls = 0
        self._unwritable = ""
        self._unwritable_until = 0.0
        connection.on_term.append(self._elected)

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
        call = _Waiting(operations, guard, answer, self._loop.time())
        self._waiting_operations += len(operations)
        self._waiting_bytes += call.size_bytes
        self._calls.append(call)
        if len(self._calls) == self._gathering_calls:
            self._enough.set()
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="etcd-commit")
        return answer

    @property
    def unwritable(self) -> str:
        """Why etcd has refused the last write for what it is, "" when it has not."""
        return self._unwritable if self._loop.time() < self._unwritable_until else ""

    async def _send(self) -> None:
        try:
            while self._calls:
                self._shed()
                transaction: Transaction[_Waiting] = Transaction()
                transaction.take(self._calls, self._operations_max)
                try:
                    await self._transact(transaction)
                except EngineError as error:
                    self._fail(transaction, error)
                except BaseException:
                    self._fail(transaction, OutcomeUnknown("this node has a defect, or stops"))
                    self._abandon()
                    raise
                await self._gather(len(transaction.parts))
        finally:
            self._sending = None

    async def _gather(self, answered: int) -> None:
        """Wait until as many calls are there as have just been answered, but not for long."""
        if not answered >= GATHER_CALLS_MIN or len(self._calls) >= answered or self._closing:
            return
        self._gathering_calls = answered
        self._enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S_MAX):
                await self._enough.wait()
        self._gathering_calls = 0

    def _shed(self) -> None:
        """Refuse those that have waited too long, as long as nothing of them has been sent."""
        too_old = self._loop.time() - WRITE_S_MAX
        while len(self._calls) > 1 and self._calls[0].since < too_old and not self._calls[0].taken:
            call = self._calls.popleft()
            self._release(call)
            if not call.answer.done():
                call.answer.set_exception(Refused("etcd did not take the write in time"))

    async def _transact(self, transaction: Transaction[_Waiting]) -> None:
        oldest = transaction.parts[0][0].since
        request = transaction.request(self._layout)
        response = await self._apply(request, oldest + WRITE_S_MAX)
        if transaction.read(response):
            self._wrote_at = response.header.revision
        for call, _, _ in transaction.parts:
            call.since = self._connection.answered_at
        # What the transaction before has written of a call is told to it too.
        wrote = any(call.applied for call, _, _ in transaction.parts)
        if wrote and (self._showing or self._feed.seen < self._wrote_at):
            showing = asyncio.create_task(self._show(transaction, self._wrote_at))
            self._showing.add(showing)
            showing.add_done_callback(self._showing.discard)
        else:
            self._answer(transaction, self._wrote_at)

    async def _apply(self, request: Request, deadline: float) -> Response:
        """Send until somebody takes it. Raises `EngineError`."""
        while True:
            try:
                response = await self._once(request, deadline - self._loop.time())
            except NotReached:
                # While etcd has been away for long, nobody waits as long again.
                until = min(deadline, self._connection.answered_at + WRITE_S_MAX)
                if self._closing or self._loop.time() >= until:
                    raise
                await asyncio.sleep(RETRY_S)
            except Unwritable as error:
                was_known = bool(self.unwritable)
                self._unwritable = str(error)
                self._unwritable_until = self._loop.time() + UNWRITABLE_S
                if isinstance(error, Full) and not was_known:
                    raise OutcomeUnknown(f"{error}; this write may be in it already") from error
                raise
            else:
                self._connection.told_term(response.header.raft_term)
                self._unwritable = ""
                return response

    async def _once(self, request: Request, timeout_s: float) -> Response:
        timeout_s = max(SENT_S_MIN, timeout_s)
        try:
            # Later than the call's own end, which knows whether anything had been sent by then.
            async with asyncio.timeout(timeout_s + END_S) as self._under_way:
                if isinstance(request, PutRequest):
                    return await self._connection.call(PUT, request, timeout_s=timeout_s)
                return await self._connection.call(TXN, request, timeout_s=timeout_s)
        except TimeoutError:
            raise OutcomeUnknown("etcd has not answered in time: the write may be done") from None
        finally:
            self._under_way = None

    def _elected(self) -> None:
        """A majority has answered a read in a later term than the transaction was sent in. What it
        has of the transaction is applied here already, and its answer on the way; or it is lost
        with the old leader, and waiting for it would hold up everything else."""
        under_way = self._under_way
        if under_way is not None and not under_way.expired():
            soon = self._loop.time() + ELECTED_S_MAX
            under_way.reschedule(min(soon, under_way.when() or soon))

    async def _show(self, transaction: Transaction[_Waiting], revision: int) -> None:
        """Watchers first: who has its answer may rely on the watcher being told already."""
        try:
            async with asyncio.timeout(SHOWN_S_MAX):
                await self._feed.reach(revision)
        except TimeoutError:
            self._give_up_showing(transaction)
        else:
            self._answer(transaction, revision)

    def _answer(self, transaction: Transaction[_Waiting], revision: int) -> None:
        try:
            if transaction.untold:
                transaction.complete(self._feed.created_at(revision), revision)
        except OutcomeUnknown:
            self._give_up_showing(transaction)
            return
        for call, _, stop in transaction.parts:
            if stop == len(call.operations):
                self._release(call)
                if not call.answer.done():
                    # Another transaction of the call, shown in this turn, may yet complete them.
                    call.answer.set_result(call.results)

    def _give_up_showing(self, transaction: Transaction[_Waiting]) -> None:
        """It is done, and this node cannot say what became of it."""
        for call, _, stop in transaction.parts:
            if stop == len(call.operations):
                self._release(call)
            if not call.answer.done():
                call.answer.set_exception(OutcomeUnknown(NOT_SHOWN))

    def _fail(self, transaction: Transaction[_Waiting], error: EngineError) -> None:
        for call, _, stop in transaction.parts:
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

    def _abandon(self) -> None:
        """Those that wait, and that nobody will send."""
        while self._calls:
            call = self._calls.popleft()
            self._release(call)
            if not call.answer.done():
                call.answer.set_exception(Refused("this node has a defect, or stops"))

    def _release(self, call: Call) -> None:
        self._waiting_operations -= len(call.operations)
        self._waiting_bytes -= call.size_bytes

    async def close(self) -> None:
        """Finish what was accepted."""
        self._closing = True
        self._enough.set()
        if self._sending is not None:
            await asyncio.wait([self._sending])
        if self._showing:
            await asyncio.wait(self._showing)
