"""The members of the etcd cluster: who they are, who leads, and changing them."""

import asyncio
from typing import Any, Final

from aetcd.rpc import MemberListRequest, StatusRequest
from grpc import aio

from ..seam import Member
from .connection import Connection, Endpoint

ANSWER_S_MAX: Final = 1.0
"""A member that does not say how it is within this counts as unhealthy."""


class Cluster:
    """`leader` is the name of the member that led when it was last asked, "" for none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names: dict[int, str] = {}
        self.leader = ""
        self.alarm = ""

    async def look(self) -> None:
        """Ask the endpoint in use who leads, and for alarms. Raises `EngineError`."""
        status = await self._connection.call(lambda at: at.maintenance.Status, StatusRequest())
        if status.leader not in self._names:
            await self._list()
        self.leader = self._names.get(status.leader, "")

    async def members(self) -> list[Member]:
        """Raises `EngineError`."""
        members = await self._list()
        answering = await asyncio.gather(*map(self._state, self._connection.endpoints))
        states = {state.header.member_id: state for state in answering if state is not None}
        leader = next((state.leader for state in states.values() if state.leader), 0)
        return [
            Member(
                member.name or f"{member.ID:x}",
                _address(member),
                leader=leader == member.ID,
                healthy=bool(member.name) and self._healthy(member, states),
            )
            for member in sorted(members, key=lambda member: str(member.name))
        ]

    async def _list(self) -> list[Any]:
        # Any member's own list will do: with no leader there is still something to show.
        answer = await self._connection.call_any(
            lambda at: at.cluster.MemberList, MemberListRequest()
        )
        self._names = {member.ID: member.name for member in answer.members}
        return list(answer.members)

    async def _state(self, endpoint: Endpoint) -> Any:
        try:
            return await endpoint.maintenance.Status(
                StatusRequest(), timeout=ANSWER_S_MAX, metadata=self._connection.metadata
            )
        except aio.AioRpcError:
            return None

    def _healthy(self, member: Any, states: dict[int, Any]) -> bool:
        """Of a member at no endpoint of ours nothing is known but that it was started."""
        return member.ID in states or len(states) < 1


def _address(member: Any) -> str:
    return str(member.peerURLs[0]).partition("://")[2] if member.peerURLs else ""
