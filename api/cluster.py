"""The cluster's members, and handing over. A node that stands alone says so."""

from typing import Final

import msgspec

from ..addresses import parse_address
from ..cluster_list import parse_node_name
from .call import Call
from .errors import invalid
from .inputs import MemberBody
from .responses import Response, answer, no_content
from .status import MemberAnswer, members

MEMBER_BYTES_MAX: Final = 4096

_body: Final = msgspec.json.Decoder(MemberBody)


class _NoBody(msgspec.Struct, forbid_unknown_fields=True):
    """What names a successor is refused: it would be passed over in silence."""


_no_body: Final = msgspec.json.Decoder(_NoBody)


class MembersAnswer(msgspec.Struct):
    members: list[MemberAnswer]


class TransferAnswer(msgspec.Struct):
    """Who keeps the leases and whose engine leads, now."""

    keeper: str
    leader: str


async def list_members(call: Call) -> Response:
    return answer(call.registry, MembersAnswer(await members(call.registry)))


async def add_member(call: Call) -> Response:
    body = await call.json(_body, MEMBER_BYTES_MAX)
    for field, parse, text in (
        ("name", parse_node_name, body.name),
        ("address", parse_address, body.address),
    ):
        try:
            parse(text)
        except ValueError as error:
            raise invalid(field, str(error)) from error
    added = await call.registry.membership.add(body.name, body.address)
    return answer(call.registry, MembersAnswer([MemberAnswer(*member) for member in added]))


async def remove_member(call: Call) -> Response:
    await call.registry.membership.remove(call.parts[0])
    return no_content(call.registry)


async def transfer(call: Call) -> Response:
    await call.json(_no_body, MEMBER_BYTES_MAX)
    return answer(call.registry, TransferAnswer(*await call.registry.membership.transfer()))
