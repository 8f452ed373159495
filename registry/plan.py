"""A call's operations turned into the engine's, and the engine's results into the call's.

Later operations of one call see what earlier ones will have done, so that a batch answers as
if its operations had come one by one.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from .board import Board
from .engine.seam import Conflict, Delete, Operation, Put, Result
from .errors import TooLarge
from .instance import TTL_NEVER, Instance, encode_instance
from .names import InstanceName, instance_key
from .views import (
    BatchOperation,
    BatchResult,
    Deregister,
    Heartbeat,
    Listed,
    Register,
    Registered,
    Renewal,
)

REGISTRATION_BYTES_MAX: Final = 64 * 1024
"""One registration as stored: a page of metadata, not a document store."""


class Written(msgspec.Struct, frozen=True, gc=False):
    """The result stands in the engine's answer to operation number `position`."""

    position: int
    operation: BatchOperation
    instance: Instance | None


class Lost(NamedTuple):
    """A status was to be written onto a registration that has just been replaced: plan again."""

    operation: Heartbeat


def folded(instance: Instance) -> InstanceName:
    return InstanceName(instance.namespace.lower(), instance.service.lower(), instance.id.lower())


class Passed(NamedTuple):
    """A renewal that the keeper, another node, has yet to hear of."""

    position: int
    key: bytes
    operation: Register | Heartbeat


class Plan:
    """`add` each operation, commit `operations`, read `results`.

    `passed` is empty on the node that keeps the leases, and without what is written as well: by
    the time the keeper heard of that renewal, the registration would be another one, or none.
    """

    def __init__(self, board: Board, now_s: float) -> None:
        self.operations: list[Operation] = []
        self.assumes = False
        """Whether something ends here because of what this node shows: it is the same already,
        or not there. Of a cluster, another node may have written what is not shown here yet."""
        self._passed: dict[bytes, list[Passed]] = {}
        self._board = board
        self._now_s = now_s
        self._outcomes: list[Written | BatchResult] = []
        self._planned: dict[InstanceName, Instance | None] = {}
        self._status_puts: dict[InstanceName, tuple[int, int | None]] = {}
        """Position and condition of the put, for what a status was last written onto."""
        self._spellings: dict[Sequence[str], str] = {}

    @property
    def passed(self) -> list[Passed]:
        return [passed for of_key in self._passed.values() for passed in of_key]

    def add(self, operation: BatchOperation) -> None:
        match operation:
            case Register():
                self._outcomes.append(self._register(operation))
            case Deregister():
                self._outcomes.append(self._deregister(operation))
            case Heartbeat():
                self._outcomes.append(self._heartbeat(operation))

    def rewrite(self, operation: Register) -> None:
        """As `add`, though the same is on the board: the keeper is about to take it off."""
        name = folded(operation.instance)
        instance = self._spelled(name, operation.instance)
        put = Put(instance_key(name), encode_instance(instance))
        self._outcomes.append(self._write(put, operation, name, instance))

    def results(self, written: Sequence[Result]) -> list[BatchResult | Lost]:
        """One result for each operation added, given the engine's for `operations`."""
        return [
            _result(outcome, written[outcome.position]) if isinstance(outcome, Written) else outcome
            for outcome in self._outcomes
        ]

    def _register(self, operation: Register) -> Written | BatchResult:
        instance = operation.instance
        name = folded(instance)
        instance = self._spelled(name, instance)
        value = encode_instance(instance)
        if len(value) > REGISTRATION_BYTES_MAX:
            return TooLarge(
                "meta",
                f"the registration takes {len(value)} bytes, {REGISTRATION_BYTES_MAX} are allowed;"
                " keep large values elsewhere and register where they are",
            )
        key = instance_key(name)
        entry = self._board.catalog.get(name)
        unchanged = entry is not None and entry.value == value
        if entry and unchanged and name not in self._planned and key not in self._board.expiring:
            self.assumes = True
            self._board.leases.renew(key, self._now_s)
            if not self._board.keeps_leases:
                self._pass(key, operation)
            expires_in_s = None if instance.ttl == TTL_NEVER else instance.ttl
            listed = Listed(entry.instance, entry.create_index, entry.modify_index, expires_in_s)
            return Registered(listed, created=False)
        return self._write(Put(key, value), operation, name, instance)

    def _deregister(self, operation: Deregister) -> Written | BatchResult:
        if self._find(operation.name) is None:
            self.assumes = True
            return False
        return self._write(Delete(instance_key(operation.name)), operation, operation.name, None)

    def _heartbeat(self, operation: Heartbeat) -> Written | BatchResult:
        name = operation.name
        instance = self._find(name)
        if instance is None:
            self.assumes = True
            return None
        status = instance.status if operation.status is None else operation.status
        output = instance.output if operation.output is None else operation.output
        if (status, output) != (instance.status, instance.output):
            instance = msgspec.structs.replace(instance, status=status, output=output)
            return self._put_status(operation, name, instance)
        if name in self._planned:
            return _renewal(instance)
        self.assumes = self.assumes or not operation.is_bare
        ttl_s = self._board.renew(name, self._now_s)
        if ttl_s is not None and not self._board.keeps_leases:
            self._pass(instance_key(name), operation)
        return None if ttl_s is None else _renewal(instance)

    def _pass(self, key: bytes, operation: Register | Heartbeat) -> None:
        self._passed.setdefault(key, []).append(Passed(len(self._outcomes), key, operation))

    def _put_status(self, operation: Heartbeat, name: InstanceName, instance: Instance) -> Written:
        key, value = instance_key(name), encode_instance(instance)
        if name in self._status_puts:
            # One put under the first one's condition. A second without a condition would
            # bring back what is here now when the first is lost to another registration.
            position, expect = self._status_puts[name]
            self.operations[position] = Put(key, value, expect)
            self._planned[name] = instance
            return Written(position, operation, instance)
        entry = self._board.catalog.get(name)
        expect = None if entry is None or name in self._planned else entry.modify_index
        written = self._write(Put(key, value, expect), operation, name, instance)
        self._status_puts[name] = written.position, expect
        return written

    def _spelled(self, name: InstanceName, instance: Instance) -> Instance:
        """`instance` with its names as first written, be it earlier in the same call."""
        parts = (name.namespace, name[:2], name)
        spelled = self._board.catalog.spelled(name, instance)
        first = tuple(map(self._spellings.setdefault, parts, spelled))
        if first == (instance.namespace, instance.service, instance.id):
            return instance
        namespace, service, instance_id = first
        return msgspec.structs.replace(
            instance, namespace=namespace, service=service, id=instance_id
        )

    def _find(self, name: InstanceName) -> Instance | None:
        """What `name` will be when the operations planned so far are done."""
        if name in self._planned:
            return self._planned[name]
        if instance_key(name) in self._board.expiring:
            return None
        entry = self._board.catalog.get(name)
        return None if entry is None else entry.instance

    def _write(
        self,
        write: Operation,
        operation: BatchOperation,
        name: InstanceName,
        instance: Instance | None,
    ) -> Written:
        self.operations.append(write)
        self._passed.pop(write.key, None)
        self._planned[name] = instance
        self._status_puts.pop(name, None)
        return Written(len(self.operations) - 1, operation, instance)


def _result(outcome: Written, result: Result) -> BatchResult | Lost:
    operation, instance = outcome.operation, outcome.instance
    if isinstance(result, Conflict):
        return Lost(operation) if isinstance(operation, Heartbeat) else False
    if instance is None:
        return True
    if isinstance(operation, Heartbeat):
        return _renewal(instance)
    expires_in_s = None if instance.ttl == TTL_NEVER else instance.ttl
    listed = Listed(instance, result.create_revision, result.revision, expires_in_s)
    return Registered(listed, created=result.create_revision == result.revision)


def _renewal(instance: Instance) -> Renewal:
    return Renewal(instance.ttl, None if instance.ttl == TTL_NEVER else instance.ttl)
