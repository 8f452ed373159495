"""The cluster's members. A node that stands alone lists itself and says so to the rest."""

from typing import Final

import msgspec

from .call import Call
from .errors import ApiError
from .inputs import MemberBody
from .responses import Response, answer
from .status import MemberAnswer, members

MEMBER_BYTES_MAX: Final = 4096

_body: Final = msgspec.json.Decoder(MemberBody)


class MembersAnswer(msgspec.Struct):
    members: list[MemberAnswer]


async def list_members(call: Call) -> Response:
    return answer(call.registry, MembersAnswer(await members(call.registry)))


async def add_member(call: Call) -> Response:
    body = await call.json(_body, MEMBER_BYTES_MAX)
    raise _stands_alone(call, f"{body.name[:80]!r} cannot join")


async def remove_member(call: Call) -> Response:
    name = call.parts[0]
    if name not in {member.name for member in await call.registry.members()}:
        raise ApiError(404, "unknown_member", f"{name[:80]!r} is no member")
    raise _stands_alone(call, f"{name[:80]!r} is the only member and cannot be removed")


async def transfer(call: Call) -> Response:
    raise _stands_alone(call, "there is no other node to hand over to")


def _stands_alone(call: Call, what: str) -> ApiError:
    return ApiError(
        409,
        "stands_alone",
        f"{what}: {call.registry.node!r} stands alone on its embedded engine",
    )
