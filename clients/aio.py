"""The client for coroutines, and the source of truth for the one without `await`."""

import asyncio
import logging
import warnings
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Final, Self, TypeVar, Unpack

from . import requests
from .balancing import Peer, Policy
from .calling import Caller
from .checks import Check, CheckRunner, Health
from .endpoints import parse_servers, shown
from .errors import CallboardError, NoServerAnswered, TimedOut
from .following import Following, follow
from .kv import AsyncKv
from .registration import AsyncRegistration, made_id
from .request import Request, duration_s
from .requests import Described
from .results import Event, Instance, Instances, Member, Renewal, ServiceSummary, Status, Transfer
from .snapshots import AsyncSnapshots
from .trust import trust_for
from .watching import Watch

TIMEOUT_S: Final = 10.0
"""For a call that names none: longer than a leader election, shorter than a person's patience."""
CHECK_INTERVAL_S: Final = 5.0
CHECK_INTERVAL_S_MIN: Final = 0.05
"""Less is a busy loop."""
REMEMBERED_MAX: Final = 256
"""Answers of `instances` that are kept for when no server answers."""

T = TypeVar("T")
_log: Final = logging.getLogger("callboard")


class AsyncWatch:
    """An endless iterator of events; leave it, or `close` it. It ends with its client."""

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        self._events = events
        self._reading = asyncio.Lock()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        async with self._reading:
            return await anext(self._events)

    async def close(self) -> None:
        """Hang up, once a read that was cancelled has left: a running generator refuses."""
        async with self._reading:
            await self._events.aclose()


class AsyncClient:
    """One callboard cluster, seen from one event loop.

    `servers` is a URL, several with commas, or a list; left out, it is `CALLBOARD_SERVER`, or
    the local node. `timeout` is in seconds and for calls that give none. For https servers,
    `ca` is a PEM file of the CAs to trust instead of the system's, `cert` and `key` are what
    the client shows of itself; left out, they are `CALLBOARD_CA`, `_CERT` and `_KEY`.
    """

    def __init__(
        self,
        servers: str | Sequence[str] | None = None,
        *,
        timeout: float = TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
    ) -> None:
        self._caller_made: Caller | None = None
        self.servers = parse_servers(servers)
        self._trust = trust_for(self.servers, ca, cert, key)
        self._headers = dict(headers or {})
        self._timeout_s = timeout
        self._registrations: set[AsyncRegistration] = set()
        self._followed: dict[tuple[str, str], Following] = {}
        self._remembered: OrderedDict[str, tuple[Instances, float]] = OrderedDict()
        self._closed = False
        self.kv = AsyncKv(self._call)
        self.snapshot = AsyncSnapshots(self._caller)

    def _caller(self) -> Caller:
        if self._closed:
            raise RuntimeError("this callboard client is closed: make a new one")
        if self._caller_made is None:
            self._caller_made = Caller(self.servers, self._headers, self._trust)
        return self._caller_made

    async def _call(self, request: Request[T], timeout: float | None) -> T:
        return await self._caller().call(request, self._timeout_s if timeout is None else timeout)

    def register(
        self,
        service: str,
        *,
        id: str | None = None,  # noqa: A002  # the word of the contract
        ttl: float | str = 15,
        namespace: str = "default",
        check: Check | None = None,
        interval: float | str = CHECK_INTERVAL_S,
        timeout: float | None = None,
        **described: Unpack[Described],
    ) -> AsyncRegistration:
        """Register and keep it so: `async with` it, or `await` it and `close()` it later.

        It renews about every `ttl`/3 seconds, registers again when the server has lost it, and
        deregisters at the end. `check` is called every `interval`: True, False, or a status and
        a text; raising is critical. It runs once before the registration. A check that is no
        coroutine function runs in a thread. Without `id` one is made.
        """
        instance_id = made_id(service) if id is None else id

        def put(health: Health | None) -> Request[Instance]:
            said = described.copy()
            if health is not None:
                said["status"] = health.status
            return requests.put_instance(
                service,
                instance_id,
                ttl=ttl,
                output=health.output if health else None,
                namespace=namespace,
                **said,
            )

        put(None)  # what is wrong with the arguments shows here and not later
        return AsyncRegistration(
            self._caller(),
            put,
            service=service,
            instance_id=instance_id,
            namespace=namespace,
            check=None if check is None else CheckRunner(check),
            check_interval_s=max(duration_s(interval, "interval"), CHECK_INTERVAL_S_MIN),
            timeout_s=self._timeout_s if timeout is None else timeout,
            began=self._registrations.add,
            ended=self._registrations.discard,
        )

    async def put_instance(
        self,
        service: str,
        id: str,  # noqa: A002
        *,
        ttl: float | str | None = None,
        output: str | None = None,
        namespace: str = "default",
        timeout: float | None = None,
        **described: Unpack[Described],
    ) -> Instance:
        """Register once, and leave the renewing to whoever asks for it."""
        request = requests.put_instance(
            service, id, ttl=ttl, output=output, namespace=namespace, **described
        )
        return await self._call(request, timeout)

    async def heartbeat(
        self,
        service: str,
        id: str,  # noqa: A002
        *,
        status: str | None = None,
        output: str | None = None,
        namespace: str = "default",
        timeout: float | None = None,
    ) -> Renewal:
        """Renew one registration once. `NotFound` when it is not registered (any more)."""
        request = requests.heartbeat(service, id, status=status, output=output, namespace=namespace)
        return await self._call(request, timeout)

    async def deregister(
        self,
        service: str,
        id: str,  # noqa: A002
        *,
        namespace: str = "default",
        timeout: float | None = None,
    ) -> None:
        """Take an instance off the board. `NotFound` when it is not there."""
        await self._call(requests.deregister(service, id, namespace=namespace), timeout)

    async def services(
        self, *, namespace: str = "default", timeout: float | None = None
    ) -> dict[str, ServiceSummary]:
        """What is registered, by service."""
        return await self._call(requests.services(namespace=namespace), timeout)

    async def instances(
        self,
        service: str,
        *,
        passing: bool = True,
        tag: str | None = None,
        meta: Mapping[str, str] | None = None,
        namespace: str = "default",
        consistency: str | None = None,
        timeout: float | None = None,
    ) -> Instances:
        """Ask a server; when none answers, the last copy is returned, and `age_s` says how old.

        `consistency` is "default", "strong" or "stale"; a strong read never comes from a copy.
        """
        request = requests.instances(
            service,
            passing=passing,
            tag=tag,
            meta=meta,
            namespace=namespace,
            consistency=consistency,
        )
        try:
            found = await self._call(request, timeout)
        except (NoServerAnswered, TimedOut) as error:
            kept = None
            if consistency != "strong":
                following = self._followed.get((namespace.lower(), service.lower()))
                if following is not None and following.filled:
                    kept = following.instances(passing, tag, dict(meta or {}))
                else:
                    kept = self._recall(request.target)
            if kept is None:
                raise
            return self._told(kept, error)
        self._remember(request.target, found)
        return found

    async def pick(
        self,
        service: str,
        *,
        policy: Policy = "round-robin",
        tag: str | None = None,
        namespace: str = "default",
        timeout: float | None = None,
    ) -> Peer:
        """A balanced choice among the instances handed out, from a live local copy.

        Only the first call for a service waits for a server. When no server answers, it goes
        on from the copy, and the peer's `age_s` says how old that is. `NotFound` when there is
        nobody to pick.
        """
        if (peer := self.pick_now(service, policy, tag, namespace)) is not None:
            return peer
        key = (namespace.lower(), service.lower())
        following = self._followed.get(key)
        if following is None:
            following = Following(self._caller(), service, namespace)
            self._followed[key] = following
        await following.wait_filled(self._timeout_s if timeout is None else timeout)
        return following.pick_now(policy, tag)

    def pick_now(
        self, service: str, policy: Policy, tag: str | None, namespace: str
    ) -> Peer | None:
        """`pick` without waiting, from any thread; None when there is no copy yet."""
        following = self._followed.get((namespace.lower(), service.lower()))
        if following is None or not following.filled:
            return None
        return following.pick_now(policy, tag)

    def watch(
        self,
        service: str | None = None,
        *,
        namespace: str = "default",
        timeout: float | None = None,
    ) -> AsyncWatch:
        """Events of one service, or of the whole namespace; a snapshot comes first.

        A lost connection is made again and resumes; when events may have been missed, a
        snapshot with `resync` set replaces what was known. `timeout` is for the beginning.
        """
        watch = Watch(service, namespace)
        timeout_s = self._timeout_s if timeout is None else timeout
        return AsyncWatch(follow(self._caller(), watch, timeout_s))

    async def status(self, *, timeout: float | None = None) -> Status:
        """What the server that answers says of itself."""
        return await self._call(requests.status(), timeout)

    async def members(self, *, timeout: float | None = None) -> tuple[Member, ...]:
        """The nodes of the cluster."""
        return await self._call(requests.members(), timeout)

    async def add_member(
        self, name: str, address: str, *, timeout: float | None = None
    ) -> tuple[Member, ...]:
        """Let a node join, whose raft is reached at `address`; all members then."""
        return await self._call(requests.add_member(name, address), timeout)

    async def remove_member(self, name: str, *, timeout: float | None = None) -> None:
        """Take a node out of the cluster for good."""
        await self._call(requests.remove_member(name), timeout)

    async def transfer(self, *, timeout: float | None = None) -> Transfer:
        """Let another node keep the leases, and lead, than the server that is asked."""
        return await self._call(requests.transfer(), timeout)

    async def close(self) -> None:
        """Deregister what is registered, end what runs. May be called again."""
        if self._closed:
            return
        try:
            endings = [registration.close() for registration in self._registrations]
            await asyncio.gather(*endings)
            for following in list(self._followed.values()):
                await following.close()
        finally:
            self._closed = True
            if self._caller_made is not None:
                await self._caller_made.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and self._caller_made is not None:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(shown, self.servers))!r})"

    def _remember(self, target: str, found: Instances) -> None:
        self._remembered[target] = (found, monotonic())
        self._remembered.move_to_end(target)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    def _recall(self, target: str) -> Instances | None:
        found, at = self._remembered.get(target, (None, 0.0))
        return None if found is None else Instances(found, found.at_index, monotonic() - at)

    def _told(self, kept: Instances, error: CallboardError) -> Instances:
        _log.warning("going on from a copy that is %.1f s old: %s", kept.age_s, error)
        return kept
