"""Gathering many callers' operations into etcd transactions, and reading what became of them.

An operation with a condition is a transaction nested in the one that is sent: compare, then write,
else read the revision that is in the way. Conditions of one caller do not touch another's. What is
put whatever was there, as registrations are, is not nested: that costs each member of etcd half as
much again. Neither is the write of `last`: etcd's quota does not see nested ones. One such put
alone is no transaction at all, if it can do without `last`: etcd 3.4 copies what it has not stored
yet for each transaction.

Since when a key has been there is told by the watch, which this node hears anyway: looking it up
in the transaction would cost each member as much as the put.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Generic, Protocol, TypeGuard, TypeVar

from ..seam import (
    ABSENT,
    NOT_SHOWN,
    Conflict,
    Delete,
    Done,
    Guard,
    Operation,
    OutcomeUnknown,
    Put,
    Result,
    Superseded,
)
from .callboard_etcd_pb2 import (
    Compare,
    PutRequest,
    PutResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from .layout import LAST_EXPIRED, LAST_PLAIN, Layout

TRANSACTION_BYTES_MAX: Final = 1024 * 1024
"""etcd takes 1.5 MiB a request by default; keys stand in it up to four times."""
OPERATION_BYTES: Final = 64
"""What an operation takes beside its value and its keys."""
NESTED_OPERATIONS_MAX: Final = 3
"""etcd counts, against `--max-txn-ops`, the outer operations, `last` among them, and the most
that one of them nests."""
_MOD: Final = Compare.MOD
_CREATE: Final = Compare.CREATE
_GREATER: Final = Compare.GREATER
_NEVER: Final = -1
"""A revision that no key has."""
Request = TxnRequest | PutRequest
Response = TxnResponse | PutResponse
_UNTOLD: Final = Done(ABSENT, ABSENT)
"""A put that is done, before the watch has told of it."""


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


class _Operations(Protocol):
    """One of a transaction's lists."""

    def add(self) -> RequestOp: ...


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
        self.untold: list[tuple[list[Result], int, bytes]] = []
        """Puts that are done, by key, and where their results will stand."""

    def take(self, calls: deque[C], operations_max: int) -> None:
        """Move what fits, in order, from `calls`; those that are taken whole leave it.

        A key at most once, one guard, deletes for one reason.
        """
        self.guard = calls[0].guard
        while calls and calls[0].guard == self.guard:
            call = calls[0]
            start = call.taken
            while call.taken < len(call.operations):
                if not self._fits(call.operations[call.taken], operations_max):
                    break
                call.taken += 1
            if call.taken > start:
                self.parts.append((call, start, call.taken))
            if call.taken < len(call.operations):
                return
            calls.popleft()

    def _fits(self, operation: Operation, operations_max: int) -> bool:
        """Whether there was room for it."""
        key = operation.key
        if key in self.keys or len(self.keys) >= operations_max:
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

    def request(self, layout: Layout) -> Request:
        if layout.exclusive and self._alone and self.guard is None:
            [(call, start, _)] = self.parts
            operation = call.operations[start]
            if _is_plain(operation):
                return PutRequest(key=layout.pairs + operation.key, value=operation.value)
        return self._transaction(layout)

    def _transaction(self, layout: Layout) -> TxnRequest:
        request = TxnRequest()
        guard = self.guard
        if guard is not None:
            request.compare.add(target=_CREATE, key=guard.key, create_revision=guard.revision)
        _put(request.success, layout.last, LAST_EXPIRED if self.expired else LAST_PLAIN)
        alone = self._alone
        if alone and guard is not None:
            _find(request.failure, guard.key)
        for call, start, stop in self.parts:
            for operation in call.operations[start:stop]:
                key = layout.pairs + operation.key
                if _is_plain(operation):
                    _put(request.success, key, operation.value)
                else:
                    _add(request if alone else request.success.add().request_txn, operation, key)
        return request

    def read(self, response: Response) -> bool:
        """Give every call its results; whether anything was written: then `complete` follows.
        Raises `Superseded`."""
        if isinstance(response, PutResponse):
            [(call, start, _)] = self.parts
            return self._note(call, call.operations[start], _UNTOLD)
        if not response.succeeded and self._lost(response):
            raise Superseded("another node keeps the leases now")
        revision: int = response.header.revision
        at = 0  # that of `last`
        wrote = False
        for call, start, stop in self.parts:
            for operation in call.operations[start:stop]:
                at += 1
                result: Result = _UNTOLD
                if not _is_plain(operation):
                    answer = response if self._alone else response.responses[at].response_txn
                    result = _result(operation, answer, revision)
                wrote |= self._note(call, operation, result)
        return wrote

    def _note(self, call: C, operation: Operation, result: Result) -> bool:
        """Whether it says that something was written."""
        if result is _UNTOLD:
            self.untold.append((call.results, len(call.results), operation.key))
        call.results.append(result)
        wrote = type(result) is Done
        call.applied |= wrote
        return wrote

    def complete(self, created: Mapping[bytes, int], revision: int) -> None:
        """The watch has shown `revision`, and since when what was put has been there. Raises
        `OutcomeUnknown`."""
        new = Done(revision, revision)
        for results, at, key in self.untold:
            since = created.get(key)
            if since is None:
                raise OutcomeUnknown(NOT_SHOWN)
            results[at] = new if since == revision else Done(revision, since)

    @property
    def _alone(self) -> bool:
        """One condition needs no nesting, and when it fails nothing is written."""
        return len(self.keys) == 1

    def _lost(self, response: TxnResponse) -> bool:
        if not self._alone:
            return True
        if self.guard is None:
            return False
        election = response.responses[0].response_range.kvs
        return not election or election[0].create_revision != self.guard.revision


def _is_plain(operation: Operation) -> TypeGuard[Put]:
    return isinstance(operation, Put) and operation.expect is None


def _put(operations: _Operations, key: bytes, value: bytes) -> None:
    put = operations.add().request_put
    put.key = key
    put.value = value


def _find(operations: _Operations, key: bytes) -> None:
    found = operations.add().request_range
    found.key = key
    found.keys_only = True


def _add(one: TxnRequest, operation: Operation, key: bytes) -> None:
    expect = operation.expect
    if isinstance(operation, Put):
        one.compare.add(target=_MOD, key=key, mod_revision=expect)
        _put(one.success, key, operation.value)
    else:
        if expect is None:
            one.compare.add(target=_CREATE, key=key, result=_GREATER, create_revision=0)
        else:
            one.compare.add(target=_MOD, key=key, mod_revision=expect or _NEVER)
        _find(one.success, key)
        one.success.add().request_delete_range.key = key
    _find(one.failure, key)


def _result(operation: Operation, answer: TxnResponse, revision: int) -> Result:
    responses = answer.responses
    if not answer.succeeded:
        in_the_way = responses[-1].response_range.kvs
        return Conflict(in_the_way[0].mod_revision if in_the_way else ABSENT)
    if isinstance(operation, Delete):
        return Done(revision, responses[-2].response_range.kvs[0].create_revision)
    return _UNTOLD
