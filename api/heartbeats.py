"""Renewing many at once: one message, no writes."""

from typing import Final

import msgspec
from aiohttp import web

from ..registry import InstanceName
from .answers import answer
from .call import Call
from .inputs import HeartbeatsBody, RenewedName

HEARTBEATS_BYTES_MAX: Final = 4 * 2**20
"""10,000 instances with names of full length in namespaces of full length, twice over."""

_body: Final = msgspec.json.Decoder(HeartbeatsBody)


class HeartbeatsAnswer(msgspec.Struct):
    """`unknown` are those that are not registered (any more), as they were sent."""

    renewed: int
    unknown: list[RenewedName]


async def renew_many(call: Call) -> web.Response:
    body = await call.json(_body, HEARTBEATS_BYTES_MAX)
    names = [
        # Names that could never have been registered are unknown like any other.
        InstanceName(named.namespace.lower(), named.service.lower(), named.id.lower())
        for named in body.instances
    ]
    unknown = call.registry.renew(names)
    shown = HeartbeatsAnswer(
        len(names) - len(unknown), [body.instances[position] for position in unknown]
    )
    return answer(call.registry, shown)
