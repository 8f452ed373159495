"""Gathering many callers' operations into etcd transactions, and reading what became of them.

Each operation is a transaction nested in the one that is sent: compare, then write, else read the
revision that is in the way. Conditions of one caller do not touch another's. The write of `last` is
not nested: etcd's quota does not see nested ones.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

from aetcd.rpc import Compare, TxnRequest, TxnResponse

from ..seam import (
    ABSENT,
    Conflict,
    Delete,
    Done,
    Guard,
    Operation,
    Put,
    Result,
    Superseded,
)
from .layout import LAST_EXPIRED, LAST_PLAIN, Layout

TRANSACTION_BYTES_MAX: Final = 1024 * 1024
"""etcd takes 1.5 MiB a request by default; keys stand in it up to four times."""
OPERATION_BYTES: Final = 64
"""What an operation takes beside its value and its keys."""
NESTED_OPERATIONS_MAX: Final = 3
"""etcd counts, against `--max-txn-ops`, the outer operations, `last` among them, and the most
that one of them nests."""

_MOD: Final = Compare.CompareTarget.Value("MOD")
_CREATE: Final = Compare.CompareTarget.Value("CREATE")
_GREATER: Final = Compare.CompareResult.Value("GREATER")
_NEVER: Final = -1
"""A revision that no key has."""


class Call:
    """One caller's operations, and how far they have come."""

    __slots__ = ("applied", "guard", "operations", "results", "size_bytes", "taken")

    def __init__(self, operations: Sequence[Operation], guard: Guard | None) -> None:
        self.operations = operations
        self.guard = guard
        self.results: list[Result] = []
        self.taken = 0
        """So many are in a transaction, the others wait."""
        self.applied = False
        """Whether a transaction has written some of it."""
        self.size_bytes = sum(len(one.value) for one in operations if isinstance(one, Put))


C = TypeVar("C", bound=Call)


class Transaction(Generic[C]):
    """Operations from the front of the queue that can go together."""

    def __init__(self) -> None:
        self.guard: Guard | None = None
        self.parts: list[tuple[C, int, int]] = []
        """Calls, each with the range of its operations."""
        self.expired: bool | None = None
        """Why its deletes are made; None as long as there are none."""
        self.keys: set[bytes] = set()
        self.size_bytes = 0

    def take(self, calls: deque[C], operations_max: int) -> None:
        """Move what fits, in order, from `calls`; those that are taken whole leave it.

        A key at most once, one guard, deletes for one reason.
        """
        self.guard = calls[0].guard
        while calls and calls[0].guard == self.guard:
            call = calls[0]
            start = call.taken
            while call.taken < len(call.operations) and len(self.keys) < operations_max:
                if not self._fits(call.operations[call.taken]):
                    break
                call.taken += 1
            if call.taken > start:
                self.parts.append((call, start, call.taken))
            if call.taken < len(call.operations):
                return
            calls.popleft()

    def _fits(self, operation: Operation) -> bool:
        key = operation.key
        if key in self.keys:
            return False
        size_bytes = OPERATION_BYTES + 4 * len(key)
        if isinstance(operation, Put):
            size_bytes += len(operation.value)
        elif self.expired not in {None, operation.expired}:
            return False
        if self.keys and self.size_bytes + size_bytes > TRANSACTION_BYTES_MAX:
            return False
        if isinstance(operation, Delete):
            self.expired = operation.expired
        self.keys.add(key)
        self.size_bytes += size_bytes
        return True

    def request(self, layout: Layout) -> TxnRequest:
        request = TxnRequest()
        guard = self.guard
        if guard is not None:
            request.compare.add(target=_CREATE, key=guard.key, create_revision=guard.revision)
        _put(request.success, layout.last, LAST_EXPIRED if self.expired else LAST_PLAIN)
        if self._alone:
            if guard is not None:
                _find(request.failure, guard.key)
            [(call, start, _)] = self.parts
            operation = call.operations[start]
            _add(request, operation, layout.pairs + operation.key)
            return request
        nested = request.success
        for call, start, stop in self.parts:
            for operation in call.operations[start:stop]:
                _add(nested.add().request_txn, operation, layout.pairs + operation.key)
        return request

    def read(self, response: TxnResponse) -> bool:
        """Give every call its results; whether anything was written. Raises `Superseded`."""
        if not response.succeeded and self._lost(response):
            raise Superseded("another node keeps the leases now")
        revision: int = response.header.revision
        answers = iter((response,))
        if not self._alone:
            answers = (one.response_txn for one in response.responses)
            next(answers)  # of `last`
        wrote = False
        for call, start, stop in self.parts:
            for operation, answer in zip(call.operations[start:stop], answers, strict=False):
                result = _result(operation, answer, revision)
                call.results.append(result)
                if type(result) is Done:
                    call.applied = wrote = True
        return wrote

    @property
    def _alone(self) -> bool:
        """One operation needs no nesting, and when its condition fails nothing is written."""
        return len(self.keys) == 1

    def _lost(self, response: TxnResponse) -> bool:
        if not self._alone:
            return True
        if self.guard is None:
            return False
        election = response.responses[0].response_range.kvs
        return not election or election[0].create_revision != self.guard.revision


def _put(operations: Any, key: bytes, value: bytes) -> None:
    put = operations.add().request_put
    put.key = key
    put.value = value


def _find(operations: Any, key: bytes) -> None:
    found = operations.add().request_range
    found.key = key
    found.keys_only = True


def _add(one: Any, operation: Operation, key: bytes) -> None:
    expect = operation.expect
    if isinstance(operation, Put):
        if expect is not None:
            one.compare.add(target=_MOD, key=key, mod_revision=expect)
        _put(one.success, key, operation.value)
        if expect != ABSENT:
            _find(one.success, key)
    else:
        if expect is None:
            one.compare.add(target=_CREATE, key=key, result=_GREATER, create_revision=0)
        else:
            one.compare.add(target=_MOD, key=key, mod_revision=expect or _NEVER)
        _find(one.success, key)
        one.success.add().request_delete_range.key = key
    _find(one.failure, key)


def _result(operation: Operation, answer: Any, revision: int) -> Result:
    responses = answer.responses
    if not answer.succeeded:
        in_the_way = responses[-1].response_range.kvs
        return Conflict(in_the_way[0].mod_revision if in_the_way else ABSENT)
    if isinstance(operation, Delete):
        return Done(revision, responses[-2].response_range.kvs[0].create_revision)
    if operation.expect == ABSENT:
        return Done(revision, revision)
    return Done(revision, responses[-1].response_range.kvs[0].create_revision)
