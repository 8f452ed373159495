"""The members of the etcd cluster: who they are, who leads, and changing them."""

import asyncio
import logging
from typing import Final, NamedTuple

from ..seam import EngineError, Member, OutcomeUnknown, Refused, StandsAlone
from .callboard_etcd_pb2 import Member as EtcdMember
from .callboard_etcd_pb2 import (
    MemberAddRequest,
    MemberListRequest,
    MemberPromoteRequest,
    MemberRemoveRequest,
    MoveLeaderRequest,
    StatusRequest,
    StatusResponse,
)
from .connection import Connection, Endpoint
from .errors import Unsettled
from .methods import (
    MEMBER_ADD,
    MEMBER_LIST,
    MEMBER_PROMOTE,
    MEMBER_REMOVE,
    MOVE_LEADER,
    STATUS,
    Answer,
    Method,
    Request,
)
from .peers import answers

LOOK_S: Final = 2.0
"""How often the leader's name and alarms are asked for: they are shown, nothing relies on them."""
CHANGE_S_MAX: Final = 5.0
"""A change of members is agreed by the old majority; an election may come between."""
SETTLE_S_MAX: Final = 6.0
"""etcd changes no members before all others have been connected for 5 s."""
SETTLE_S: Final = 0.5
PROMOTE_S: Final = 1.0
"""How often a learner is tried: etcd refuses until it has caught up."""

_log: Final = logging.getLogger("callboard.etcd")


class _Cluster(NamedTuple):
    """Members as etcd tells them, and the states of those at our endpoints, by id."""

    members: list[EtcdMember]
    states: dict[int, StatusResponse]

    @property
    def leader(self) -> int:
        return next((state.leader for state in self.states.values() if state.leader), 0)


class Cluster:
    """`leader` is the name of the member that led when it was last asked, "" for none; `alarm`
    says what keeps etcd from being written to, "" when nothing does.

    `owned`: the members are our nodes, so that a learner is one of them on its way in.
    """

    def __init__(self, connection: Connection, *, owned: bool) -> None:
        self._connection = connection
        self._owned = owned
        self._names: dict[int, str] = {}
        self._last: list[EtcdMember] = []
        self._promoting: asyncio.Task[None] | None = None
        self.leader = ""
        self.alarm = ""

    async def run(self) -> None:
        """Keep `leader` and `alarm` fresh until cancelled; finish what others began."""
        while True:
            try:
                await self._look()
            except EngineError as error:
                self.leader = ""
                _log.debug("the cluster cannot be looked at: %s", error)
            await asyncio.sleep(LOOK_S)

    async def members(self) -> list[Member]:
        """When nobody can be asked these are the last that were told, and none is well."""
        try:
            cluster = await self._ask()
        except Refused:
            return sorted(Member(_name(one), _address(one), False, False) for one in self._last)
        healthy = await asyncio.gather(*(self._is_healthy(one, cluster) for one in cluster.members))
        found = [
            Member(_name(one), _address(one), cluster.leader == one.ID, well)
            for one, well in zip(cluster.members, healthy, strict=True)
        ]
        return sorted(found)

    async def add(self, name: str, address: str) -> None:
        """As a learner, which has no vote before it has caught up. Raises as the seam says."""
        members = (await self._ask()).members
        if name in map(_name, members):
            raise Refused(f"a member {name!r} is there already: give the new one another name")
        for member in members:
            if member.isLearner or not member.name:
                raise Refused(f"{_name(member)} is still on its way in: one at a time")
        scheme = members[0].peerURLs[0].partition("://")[0]
        request = MemberAddRequest(peerURLs=[f"{scheme}://{address}"], isLearner=True)
        answer = await self._change(MEMBER_ADD, request)
        self._promote_soon(answer.member.ID)

    async def remove(self, name: str) -> None:
        """`name` may be an address, too: who was never started has no name."""
        members = (await self._ask()).members
        for member in members:
            if name in {_name(member), _address(member)}:
                break
        else:
            raise Refused(f"there is no member {name!r}")
        if len(members) == 1:
            raise StandsAlone(f"{name!r} is the only member")
        await self._change(MEMBER_REMOVE, MemberRemoveRequest(ID=member.ID))

    async def transfer(self) -> str:
        """Who leads somebody else's etcd is theirs to say. Of ours only the leader itself
        can hand over: does nothing when it is at no endpoint of ours."""
        cluster = await self._ask()
        if not self._owned:
            return str(self._names.get(cluster.leader, ""))
        leading = [
            endpoint
            for endpoint in self._connection.endpoints
            if (state := cluster.states.get(endpoint.member)) is not None
            and cluster.leader == state.header.member_id
        ]
        others = [
            member
            for member in cluster.members
            if cluster.leader != member.ID and member.name and not member.isLearner
        ]
        if not others:
            raise StandsAlone("there is no other member to hand over to")
        if not cluster.leader:
            raise Refused("etcd has no leader that could hand over")
        if not leading:
            return str(self._names.get(cluster.leader, ""))
        others.sort(key=lambda member: member.ID not in cluster.states)
        return await self._move(leading[0], others)

    async def _move(self, leading: Endpoint, others: list[EtcdMember]) -> str:
        refusal: EngineError | None = None
        for member in others:
            if not await answers(_address(member)):
                continue
            try:
                await self._connection.call_at(
                    leading,
                    MOVE_LEADER,
                    MoveLeaderRequest(targetID=member.ID),
                    timeout_s=CHANGE_S_MAX,
                )
            except (Refused, OutcomeUnknown) as error:
                refusal = error
            else:
                self.leader = str(member.name)
                return self.leader
        raise refusal or Refused("no other member answers")

    async def _change(self, method: Method[Request, Answer], request: Request) -> Answer:
        """Wait for the last change to settle: until then etcd refuses, and has done nothing."""
        deadline = asyncio.get_running_loop().time() + SETTLE_S_MAX
        while True:
            try:
                return await self._connection.call(method, request, timeout_s=CHANGE_S_MAX)
            except Unsettled:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
            await asyncio.sleep(SETTLE_S)

    async def _look(self) -> None:
        status = await self._connection.ask(self._connection.endpoint, STATUS, StatusRequest())
        members = None
        if status.leader not in self._names or self._owned:
            members = await self._list()
        self.leader = self._names.get(status.leader, "")
        self.alarm = next((_alarm(text) for text in status.errors if "alarm" in text), "")
        for member in members or ():
            if self._owned and member.isLearner:
                self._promote_soon(member.ID)

    async def _ask(self) -> _Cluster:
        try:
            members = await self._list()
        except OutcomeUnknown as error:  # of a question
            raise Refused(str(error)) from error
        states = await asyncio.gather(*map(self._state, self._connection.endpoints))
        return _Cluster(members, {one.header.member_id: one for one in states if one is not None})

    async def _list(self) -> list[EtcdMember]:
        """As the endpoint in use has it: without a leader there is still something to show."""
        answer = await self._connection.ask(
            self._connection.endpoint, MEMBER_LIST, MemberListRequest()
        )
        self._last = list(answer.members)
        self._names = {member.ID: member.name for member in self._last}
        return self._last

    async def _state(self, endpoint: Endpoint) -> StatusResponse | None:
        try:
            state = await self._connection.ask(endpoint, STATUS, StatusRequest())
        except EngineError:
            return None
        endpoint.member = state.header.member_id
        return state

    async def _is_healthy(self, member: EtcdMember, cluster: _Cluster) -> bool:
        """Started, and answering where we can ask it."""
        if not member.name or member.ID in cluster.states:
            return bool(member.name)
        if self._owned:
            return await answers(_address(member))
        ours = {endpoint.url for endpoint in self._connection.endpoints}
        silent = {endpoint.member for endpoint in self._connection.endpoints}
        return member.ID not in silent and not ours & {
            url.removesuffix("/") for url in member.clientURLs
        }

    def _promote_soon(self, learner: int) -> None:
        if self._promoting is None or self._promoting.done():
            self._promoting = asyncio.create_task(self._promote(learner), name="etcd-promote")

    async def _promote(self, learner: int) -> None:
        """Until it votes, or is gone."""
        while True:
            try:
                await self._connection.call(MEMBER_PROMOTE, MemberPromoteRequest(ID=learner))
            except (Refused, OutcomeUnknown) as error:
                _log.debug("the member %x is not promoted: %s", learner, error)
            try:
                members = await self._list()
            except (Refused, OutcomeUnknown):
                members = None
            if members is not None and learner not in {
                member.ID for member in members if member.isLearner
            }:
                return
            await asyncio.sleep(PROMOTE_S)

    async def close(self) -> None:
        if self._promoting is not None:
            self._promoting.cancel()
            await asyncio.wait([self._promoting])
            self._promoting = None


def _name(member: EtcdMember) -> str:
    """Who was never started has told nobody its name."""
    return str(member.name) or f"{member.ID:x}"


def _address(member: EtcdMember) -> str:
    return str(member.peerURLs[0]).partition("://")[2] if member.peerURLs else ""


def _alarm(text: str) -> str:
    if "NOSPACE" in text:
        return "etcd's database is full (NOSPACE): compact, defragment and disarm its alarm"
    return f"etcd has raised an alarm: {text}"
