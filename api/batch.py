"""Many operations in one call: read one by one, committed together, answered in order."""

from typing import Final

import msgspec

from ..registry import (
    DEFAULT_NAMESPACE,
    BatchOperation,
    BatchResult,
    Deregister,
    Heartbeat,
    InstanceName,
    Register,
    Registered,
    RegistryError,
    Renewal,
)
from .answers import InstanceAnswer, RenewalAnswer, instance_answer, renewal_answer
from .call import Call
from .errors import ApiError, ErrorDetail, body_of, from_registry, unknown_instance
from .inputs import (
    BatchBody,
    DeregisterOperation,
    HeartbeatOperation,
    Operation,
    RegisterOperation,
    checked_name,
    instance_of,
)
from .instances import made_id
from .problems import problem_of
from .responses import Response, answer

BATCH_BYTES_MAX: Final = 16 * 2**20
"""1,000 registrations of 16 KiB; whoever registers larger ones sends fewer at a time."""

_body: Final = msgspec.json.Decoder(BatchBody)
_operation: Final = msgspec.json.Decoder(Operation)


class OperationAnswer(msgspec.Struct, omit_defaults=True):
    """`status` is what the single call would have answered; then its body or its error."""

    status: int
    instance: InstanceAnswer | None = None
    renewal: RenewalAnswer | None = None
    error: ErrorDetail | None = None


class BatchAnswer(msgspec.Struct):
    results: list[OperationAnswer]


async def batch(call: Call) -> Response:
    body = await call.json(_body, BATCH_BYTES_MAX)
    reader = _Reader(call)
    read: list[BatchOperation | ApiError] = [
        reader.read(raw, position) for position, raw in enumerate(body.operations)
    ]
    wanted = [operation for operation in read if not isinstance(operation, ApiError)]
    results = iter(await call.registry.batch(wanted))
    answers = [
        _refused(item) if isinstance(item, ApiError) else _done(item, next(results), position)
        for position, item in enumerate(read)
    ]
    return answer(call.registry, BatchAnswer(answers))


class _Reader:
    """Operations of one call from their JSON; errors say which operation they are about."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._default_ttl_s = call.registry.default_ttl_s

    def read(self, raw: msgspec.Raw, position: int) -> BatchOperation | ApiError:
        try:
            return self._read(_operation.decode(raw))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            return problem_of(error, raw, f"operations[{position}]")
        except ApiError as error:
            return _within(error, position)

    def _read(self, operation: Operation) -> BatchOperation:
        if isinstance(operation, RegisterOperation):
            return self._register(operation)
        _check(operation.service, operation.id, operation.namespace)
        name = InstanceName(
            operation.namespace.lower(), operation.service.lower(), operation.id.lower()
        )
        if isinstance(operation, DeregisterOperation):
            return Deregister(name)
        assert isinstance(operation, HeartbeatOperation)
        return Heartbeat(name, operation.status, operation.output)

    def _register(self, operation: RegisterOperation) -> Register:
        service = operation.service or ""
        instance_id = made_id(service) if operation.id is None else operation.id
        namespace = operation.namespace or DEFAULT_NAMESPACE
        _check(service, instance_id, namespace)
        return Register(
            instance_of(
                operation,
                service=service,
                namespace=namespace,
                instance_id=instance_id,
                peer_address=self._call.peer_address if operation.address is None else "",
                default_ttl_s=self._default_ttl_s,
            )
        )


def _check(service: str, instance_id: str, namespace: str) -> None:
    checked_name("service", service)
    checked_name("id", instance_id)
    checked_name("namespace", namespace)


def _within(error: ApiError, position: int) -> ApiError:
    error.field = f"operations[{position}].{error.field}" if error.field else None
    return error


def _done(operation: BatchOperation, result: BatchResult, position: int) -> OperationAnswer:
    match result:
        case Registered():
            status = 201 if result.created else 200
            return OperationAnswer(status, instance=instance_answer(result.listed))
        case Renewal():
            return OperationAnswer(200, renewal=renewal_answer(*result))
        case RegistryError():
            return _refused(_within(from_registry(result), position))
        case True:
            return OperationAnswer(204)
        case _:
            assert isinstance(operation, Deregister | Heartbeat)
            name, renewing = operation.name, isinstance(operation, Heartbeat)
            return _refused(unknown_instance(name.service, name.id, renewing=renewing))


def _refused(error: ApiError) -> OperationAnswer:
    return OperationAnswer(error.status, error=body_of(error).error)
