"""The client for callers without an event loop: the asynchronous one, run in a thread.

Every method has the signature of its namesake in `AsyncClient`, less the `await`.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, Unpack

from .aio import CHECK_INTERVAL_S, TIMEOUT_S, AsyncClient, AsyncWatch
from .balancing import Peer, Policy
from .checks import CheckResult
from .endpoints import shown
from .errors import CallboardError
from .kv import AsyncKv, Keys, Pairs
from .loop_thread import LoopStopped, LoopThread
from .registration import AsyncRegistration
from .requests import Described
from .results import (
    Event,
    Instance,
    Instances,
    KvPair,
    Member,
    Renewal,
    ServiceSummary,
    Status,
    Transfer,
)
from .snapshots import SNAPSHOT_S, AsyncSnapshots


class Registration:
    """A registration that looks after itself; `close` it, or leave its `with`, to deregister."""

    def __init__(self, thread: LoopThread, registration: AsyncRegistration) -> None:
        self._thread = thread
        self._registration = registration
        self.service = registration.service
        self.id = registration.id
        self.namespace = registration.namespace

    @property
    def instance(self) -> Instance:
        """As the server last showed it at a registration."""
        return self._registration.instance

    @property
    def failure(self) -> CallboardError | None:
        """Why the last renewal failed; None when it went well."""
        return self._registration.failure

    @property
    def renewed_ago_s(self) -> float:
        """How long ago a server last confirmed it."""
        return self._registration.renewed_ago_s

    def set_status(self, status: str, output: str = "") -> None:
        """Tell it now, and with every renewal from now on. Raises `CallboardError`."""
        self._thread.run(self._registration.set_status(status, output))

    def close(self) -> None:
        """Stop renewing and deregister; a server that cannot be reached is only logged."""
        if not self._thread.stopped:
            self._thread.run(self._registration.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Registration({self.service!r}, {self.id!r}, namespace={self.namespace!r})"


class Kv:
    """`client.kv`; see `AsyncKv`."""

    def __init__(self, thread: LoopThread, kv: AsyncKv) -> None:
        self._thread = thread
        self._kv = kv

    def get(self, key: str, *, timeout: float | None = None) -> KvPair | None:
        """None when there is no such key."""
        return self._thread.run(self._kv.get(key, timeout=timeout))

    def put(
        self,
        key: str,
        value: bytes | str,
        *,
        flags: int = 0,
        ttl: float | str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Store; with `ttl` (seconds, or "15s") it goes by itself unless it is put again."""
        self._thread.run(self._kv.put(key, value, flags=flags, ttl=ttl, timeout=timeout))

    def cas(
        self,
        key: str,
        value: bytes | str,
        index: int,
        *,
        flags: int = 0,
        ttl: float | str | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Store if `key` is still at `index` (0: if it does not exist); False when it is not."""
        return self._thread.run(
            self._kv.cas(key, value, index, flags=flags, ttl=ttl, timeout=timeout)
        )

    def delete(
        self,
        key: str,
        *,
        recurse: bool = False,
        cas: int | None = None,
        timeout: float | None = None,
    ) -> bool:
        """False only when `cas` did not hold. `recurse` deletes all that start with `key`."""
        return self._thread.run(self._kv.delete(key, recurse=recurse, cas=cas, timeout=timeout))

    def list(self, prefix: str = "", *, timeout: float | None = None) -> Pairs:
        """All pairs whose key starts with `prefix`."""
        return self._thread.run(self._kv.list(prefix, timeout=timeout))

    def keys(
        self, prefix: str = "", *, separator: str | None = None, timeout: float | None = None
    ) -> Keys:
        """The keys alone; with `separator` only up to the next one, as a directory listing."""
        return self._thread.run(self._kv.keys(prefix, separator=separator, timeout=timeout))


class Snapshots:
    """`client.snapshot`; see `AsyncSnapshots`."""

    def __init__(self, thread: LoopThread, snapshots: AsyncSnapshots) -> None:
        self._thread = thread
        self._snapshots = snapshots

    def save(
        self, path: str | os.PathLike[str], *, force: bool = False, timeout: float = SNAPSHOT_S
    ) -> int:
        """Write a new file; the bytes written. `Conflict` when it exists and is not forced."""
        return self._thread.run(self._snapshots.save(path, force=force, timeout=timeout))

    def restore(self, path: str | os.PathLike[str], *, timeout: float = SNAPSHOT_S) -> int:
        """Make the server hold what the file holds; the index after it. Never repeated."""
        return self._thread.run(self._snapshots.restore(path, timeout=timeout))


class Client:
    """One callboard cluster. May be used from several threads, and belongs to one process.

    `servers` is a URL, several with commas, or a list; left out, it is `CALLBOARD_SERVER`, or
    the local node. `timeout` is in seconds and for calls that give none. `ca`, `cert` and `key`
    are for https servers; see `AsyncClient`.
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
        self._client = AsyncClient(
            servers, timeout=timeout, headers=headers, ca=ca, cert=cert, key=key
        )
        self._thread = LoopThread()
        self.servers = self._client.servers
        self.kv = Kv(self._thread, self._client.kv)
        self.snapshot = Snapshots(self._thread, self._client.snapshot)

    def register(
        self,
        service: str,
        *,
        id: str | None = None,  # noqa: A002
        ttl: float | str = 15,
        namespace: str = "default",
        check: Callable[[], CheckResult] | None = None,
        interval: float | str = CHECK_INTERVAL_S,
        timeout: float | None = None,
        **described: Unpack[Described],
    ) -> Registration:
        """Register, and keep it so until `close()` or the end of a `with`; see `AsyncClient`."""

        async def start() -> AsyncRegistration:
            registration = self._client.register(
                service,
                id=id,
                ttl=ttl,
                namespace=namespace,
                check=check,
                interval=interval,
                timeout=timeout,
                **described,
            )
            return await registration.start()

        return Registration(self._thread, self._thread.run(start()))

    def put_instance(
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
        return self._thread.run(
            self._client.put_instance(
                service,
                id,
                ttl=ttl,
                output=output,
                namespace=namespace,
                timeout=timeout,
                **described,
            )
        )

    def heartbeat(
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
        return self._thread.run(
            self._client.heartbeat(
                service, id, status=status, output=output, namespace=namespace, timeout=timeout
            )
        )

    def deregister(
        self,
        service: str,
        id: str,  # noqa: A002
        *,
        namespace: str = "default",
        timeout: float | None = None,
    ) -> None:
        """Take an instance off the board. `NotFound` when it is not there."""
        self._thread.run(self._client.deregister(service, id, namespace=namespace, timeout=timeout))

    def services(
        self, *, namespace: str = "default", timeout: float | None = None
    ) -> dict[str, ServiceSummary]:
        """What is registered, by service."""
        return self._thread.run(self._client.services(namespace=namespace, timeout=timeout))

    def instances(
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
        """Ask a server; when none answers, the last copy, and `age_s` says how old it is."""
        return self._thread.run(
            self._client.instances(
                service,
                passing=passing,
                tag=tag,
                meta=meta,
                namespace=namespace,
                consistency=consistency,
                timeout=timeout,
            )
        )

    def pick(
        self,
        service: str,
        *,
        policy: Policy = "round-robin",
        tag: str | None = None,
        namespace: str = "default",
        timeout: float | None = None,
    ) -> Peer:
        """A balanced choice among the instances handed out, from a live local copy.

        Only the first call for a service waits for a server; the others do not even change
        threads. `NotFound` when there is nobody to pick.
        """
        if (peer := self._client.pick_now(service, policy, tag, namespace)) is not None:
            return peer
        return self._thread.run(
            self._client.pick(service, policy=policy, tag=tag, namespace=namespace, timeout=timeout)
        )

    def watch(
        self,
        service: str | None = None,
        *,
        namespace: str = "default",
        timeout: float | None = None,
    ) -> Iterator[Event]:
        """Events of one service, or of the whole namespace; a snapshot comes first.

        Ends when the client is closed; see `AsyncClient` for what `resync` says.
        """

        async def start() -> Iterator[Event]:
            events = self._client.watch(service, namespace=namespace, timeout=timeout)
            return _iterate(self._thread, events)

        return self._thread.run(start())

    def status(self, *, timeout: float | None = None) -> Status:
        """What the server that answers says of itself."""
        return self._thread.run(self._client.status(timeout=timeout))

    def members(self, *, timeout: float | None = None) -> tuple[Member, ...]:
        """The nodes of the cluster."""
        return self._thread.run(self._client.members(timeout=timeout))

    def add_member(
        self, name: str, address: str, *, timeout: float | None = None
    ) -> tuple[Member, ...]:
        return self._thread.run(self._client.add_member(name, address, timeout=timeout))

    def remove_member(self, name: str, *, timeout: float | None = None) -> None:
        self._thread.run(self._client.remove_member(name, timeout=timeout))

    def transfer(self, *, timeout: float | None = None) -> Transfer:
        return self._thread.run(self._client.transfer(timeout=timeout))

    def close(self) -> None:
        """Deregister what is registered, end what runs. May be called again."""
        if self._thread.stopped:
            return
        try:
            self._thread.run(self._client.close())
        finally:
            self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        thread = getattr(self, "_thread", None)  # absent when the arguments were refused
        if thread is not None and not thread.stopped:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
            thread.run_last(self._client.close())

    def __repr__(self) -> str:
        return f"Client({', '.join(map(shown, self.servers))!r})"


def _iterate(thread: LoopThread, events: AsyncWatch) -> Iterator[Event]:
    async def next_one() -> Event | None:
        return await anext(events, None)

    try:
        while (event := thread.run(next_one())) is not None:
            yield event
    except LoopStopped:
        return  # a watch ends with its client
    finally:
        if not thread.stopped:
            with suppress(LoopStopped):
                thread.run(events.close())
