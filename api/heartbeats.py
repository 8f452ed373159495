"""Renewing many at once: one message, no writes."""

from typing import Final

import msgspec

from ..registry import DEFAULT_NAMESPACE, NAME_CHARS_MAX, InstanceName
from .call import Call
from .inputs import HeartbeatsBody, RenewedName
from .responses import Response, answer

HEARTBEATS_BYTES_MAX: Final = 4 * 2**20
"""10,000 instances with names of full length in namespaces of full length, twice over."""

_NOBODY: Final = InstanceName("", "", "")
_body: Final = msgspec.json.Decoder(HeartbeatsBody)


class HeartbeatsAnswer(msgspec.Struct):
    """`unknown` are those that are not registered (any more), as they were sent: two
    or three names each."""

    renewed: int
    unknown: list[list[str]]


async def renew_many(call: Call) -> Response:
    body = await call.json(_body, HEARTBEATS_BYTES_MAX)
    unknown = await call.registry.renew_many([_name(named) for named in body.instances])
    shown = HeartbeatsAnswer(
        len(body.instances) - len(unknown), [_row(body.instances[at]) for at in unknown]
    )
    return answer(call.registry, shown)


def _row(named: RenewedName) -> list[str]:
    if named.namespace == DEFAULT_NAMESPACE:
        return [named.service, named.id]
    return [named.service, named.id, named.namespace]


def _name(named: RenewedName) -> InstanceName:
    """Names that could never have been registered are unknown like any other; what would be none
    in a key, or too long for a message of many, goes no further. `is_name` for each would cost
    half of what a renewal does."""
    service, instance_id, namespace = named.service, named.id, named.namespace
    all_three = service + instance_id + namespace
    if not all_three.isascii() or "/" in all_three or len(all_three) > 3 * NAME_CHARS_MAX:
        return _NOBODY
    return InstanceName(namespace.lower(), service.lower(), instance_id.lower())
