"""From a call's operations to its results: planned, committed, shown, and the keeper told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from .board import Board
from .engine.seam import NOT_SHOWN, Engine, EngineError, Operation, OutcomeUnknown, Result
from .errors import RegistryError, Unavailable
from .plan import Lost, Plan
from .renewals import Renewals
from .showing import Showing
from .views import BatchOperation, BatchResult, Heartbeat, Register, Renewal

CONFIRM_S_MAX: Final = 5.0
"""For a strong read: an election takes about one second, and who asks has other nodes to ask."""
SHOW_S_MAX: Final = 5.0
"""A write that is done shows here within milliseconds, unless this node is cut off."""
STATUS_WRITES_MAX: Final = 256
"""How often a status is written again because something else was written meanwhile: so many
reports for one instance at once are a program that has gone wild."""

T = TypeVar("T")


class Writes:
    """Raise `Unavailable`; with `closing` set, all of them."""

    def __init__(
        self,
        engine: Engine,
        board: Board,
        showing: Showing,
        renewals: Renewals,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._board = board
        self._showing = showing
        self._renewals = renewals
        self._clock = clock
        self.closing = False

    async def batch(self, operations: Sequence[BatchOperation]) -> list[BatchResult]:
        """Do many in one commit; one result each, in order."""
        plan = await self._planned(operations)
        results = await self._settle(plan)
        return [
            await _or_refusal(self._write_status(result.operation))
            if isinstance(result, Lost)
            else result
            for result in results
        ]

    async def one(self, operation: BatchOperation) -> BatchResult:
        plan = await self._planned((operation,))
        [result] = await self._settle(plan)
        if isinstance(result, Lost):
            return await self._write_status(result.operation)
        if isinstance(result, RegistryError):
            raise result
        return result

    async def _planned(self, operations: Sequence[BatchOperation]) -> Plan:
        plan = self._plan(operations)
        if plan.assumes and self._engine.identity():
            index = self._board.index
            await self.confirm()
            if self._board.index != index:
                plan = self._plan(operations)
        return plan

    def _plan(self, operations: Sequence[BatchOperation]) -> Plan:
        plan = Plan(self._board, self._clock())
        for operation in operations:
            plan.add(operation)
        return plan

    async def _settle(self, plan: Plan) -> list[BatchResult | Lost]:
        """Commit, and tell the keeper what this node has renewed without writing."""
        results = plan.results(await self.commit(plan.operations))
        if renewed := plan.passed:
            try:
                unknown = await self._renewals.pass_on([passed.key for passed in renewed])
            except Unavailable as error:
                for passed in renewed:
                    results[passed.position] = error
            else:
                for at in unknown:
                    passed = renewed[at]
                    results[passed.position] = await _or_refusal(self._again(passed.operation))
        return results

    async def _again(self, operation: Register | Heartbeat) -> BatchResult | Lost:
        """The keeper has given up what was to be renewed."""
        if isinstance(operation, Heartbeat):
            return None
        plan = Plan(self._board, self._clock())
        plan.rewrite(operation)
        [result] = plan.results(await self.commit(plan.operations))
        return result

    async def _write_status(self, beat: Heartbeat) -> Renewal | None:
        for _ in range(STATUS_WRITES_MAX):
            plan = Plan(self._board, self._clock())
            plan.add(beat)
            [result] = plan.results(await self.commit(plan.operations))
            if not isinstance(result, Lost):
                assert result is None or isinstance(result, Renewal)
                return result
        raise Unavailable(
            "no_quorum", f"{beat.name.id} was replaced {STATUS_WRITES_MAX} times meanwhile"
        )

    async def commit(self, operations: Sequence[Operation]) -> list[Result]:
        if not operations:
            return []
        if self.closing:
            raise Unavailable("shutting_down", "this node is shutting down; ask another")
        try:
            results = await self._engine.commit(operations)
        except OutcomeUnknown as error:
            raise Unavailable("outcome_unknown", str(error)) from error
        except EngineError as error:
            raise Unavailable("no_quorum", str(error)) from error
        revision = max([result.revision for result in results])
        if self._board.index < revision and not await self.shown(revision):
            # Committed, only not shown here any more: "refused" would be a lie.
            raise Unavailable("outcome_unknown", NOT_SHOWN)
        return results

    async def confirm(self) -> None:
        """Return when this node shows everything committed before the call, within
        `CONFIRM_S_MAX`."""
        try:
            async with asyncio.timeout(CONFIRM_S_MAX):
                shown = await self.shown(await self._engine.confirm())
        except EngineError as error:
            raise Unavailable("no_quorum", str(error)) from error
        except TimeoutError:
            shown = False
        if not shown:
            if self.closing:
                raise Unavailable("shutting_down", "this node is stopping; ask another")
            raise Unavailable("no_quorum", "this node does not come up to date; ask another")

    async def shown(self, revision: int, within_s: float = SHOW_S_MAX) -> bool:
        try:
            async with asyncio.timeout(within_s):
                return await self._showing.wait(revision)
        except TimeoutError:
            return False


async def _or_refusal(second: Awaitable[T]) -> T | Unavailable:
    """A second write that fails refuses its own operation: the others of its call are done."""
    try:
        return await second
    except Unavailable as error:
        return error
