"""How the node is: for people, for probes."""

import time
from typing import Final

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from .. import __version__
from ..registry import Registry
from .answers import seconds
from .call import STALENESS_MS_MAX, Call
from .errors import retry_later
from .responses import Response, answer

_STARTED_S: Final = time.monotonic()


class MemberAnswer(msgspec.Struct):
    name: str
    address: str
    leader: bool
    healthy: bool


class StatusAnswer(msgspec.Struct):
    """`keeper` names the node that keeps the leases, `leader` the one whose engine leads."""

    node: str
    engine: str
    keeper: str
    leader: str
    index: int
    staleness_ms: float | int
    members: list[MemberAnswer]
    services: int
    instances: int
    version: str
    uptime: float | int
    writable: bool
    reason: str
    held_back: int
    """Silent leases that the mass-expiry guard holds back, on the node that keeps the leases."""


class HealthAnswer(msgspec.Struct):
    status: str


async def status(call: Call) -> Response:
    registry = call.registry
    engine = registry.engine_status()
    shown = StatusAnswer(
        node=registry.node,
        engine=engine.kind,
        keeper=registry.keeper,
        leader=engine.leader,
        index=registry.index,
        staleness_ms=seconds(engine.staleness_ms),
        members=await members(registry),
        services=registry.service_count,
        instances=registry.instance_count,
        version=__version__,
        uptime=seconds(time.monotonic() - _STARTED_S),
        writable=engine.writable,
        reason=engine.reason,
        held_back=registry.held_back,
    )
    return answer(registry, shown)


async def members(registry: Registry) -> list[MemberAnswer]:
    return [MemberAnswer(*member) for member in await registry.membership.members()]


async def metrics(call: Call) -> Response:
    body = call.metrics.text()
    return Response(call.registry, body, content_type=CONTENT_TYPE_LATEST)


async def alive(call: Call) -> Response:
    """The event loop turns: that is all a liveness probe should ask."""
    return answer(call.registry, HealthAnswer("alive"))


async def ready(call: Call) -> Response:
    """The engine takes writes and was heard from lately."""
    engine = call.registry.engine_status()
    if not engine.writable:
        raise retry_later("no_quorum", f"writes are refused: {engine.reason}")
    if engine.staleness_ms > STALENESS_MS_MAX:
        raise retry_later(
            "too_stale", f"nothing was heard from the engine for {engine.staleness_ms / 1000:.1f} s"
        )
    return answer(call.registry, HealthAnswer("ready"))
