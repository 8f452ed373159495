"""Which services a namespace has, and how they are."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
from aiohttp import web

from ..registry import ServicesTopic
from .call import Call
from .responses import encode
from .streaming import stream

SERVICES_PER_PART: Final = 1000
"""Of a streamed listing: a few milliseconds of the event loop."""


class ServiceAnswer(msgspec.Struct):
    """`passing` counts those that DNS and `?passing` hand out."""

    instances: int
    passing: int
    tags: list[str]


class ServicesAnswer(msgspec.Struct):
    services: dict[str, ServiceAnswer]


async def services(call: Call) -> web.StreamResponse:
    namespace = call.namespace
    await call.ready_to_read(ServicesTopic(namespace.lower()))
    return await stream(call, b'{"services":{', _parts(call, namespace), b"}}")


def _parts(call: Call, namespace: str) -> Iterator[bytes]:
    summaries = call.registry.services(namespace)
    while some := list(islice(summaries, SERVICES_PER_PART)):
        part = {name: ServiceAnswer(count, passing, tags) for name, count, passing, tags in some}
        yield encode(part)[1:-1]
