"""The channels to an etcd: one endpoint is in use, and another when that one fails."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
from aetcd.rpc import (
    AuthenticateRequest,
    AuthStub,
    ClusterStub,
    KVStub,
    LeaseStub,
    MaintenanceStub,
    WatchStub,
)
from grpc import aio

from ..seam import CannotStart, OutcomeUnknown, Refused
from .errors import NotReached, TokenRejected, read_error
from .settings import EtcdSettings, dial_target

CALL_S_MAX: Final = 2.0
"""A read or a renewal that takes longer will not come: ask another member."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),  # a revision is never split, however large
    ("grpc.max_send_message_length", -1),  # etcd's own limit is the one that counts
    # etcd drops who pings more often than every 5 s. A member that is silent for less is found by
    # the reads that go out all the time; the pings clear away what is left of its connection.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # this is how long connecting may take
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),  # what is safe to repeat is decided here
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.default_authority", "localhost"),
)
_REQUIRE_LEADER: Final = ("hasleader", "true")

Method = Callable[..., Any]
"""A method of a stub."""

_log: Final = logging.getLogger("callboard.etcd")


class Endpoint:
    """One member's address, with the stubs of its channel."""

    def __init__(self, url: str, channel: aio.Channel) -> None:
        self.url = url
        self.member = 0
        """The id of whoever last answered here."""
        self.channel = channel
        self.kv = KVStub(channel)
        self.watch = WatchStub(channel)
        self.lease = LeaseStub(channel)
        self.cluster = ClusterStub(channel)
        self.maintenance = MaintenanceStub(channel)
        self.auth = AuthStub(channel)


class Connection:
    """`call` one unary method at the endpoint in use; never repeats what may have been applied."""

    def __init__(self, settings: EtcdSettings, ailment: Callable[[], str] = lambda: "") -> None:
        """Raises `CannotStart` when a certificate cannot be read.

        `ailment` tells what is known of a member that is not reached, "" for nothing.
        """
        self.ailment: Final = ailment
        credentials = _credentials(settings)
        self._user, self._password = settings.user, settings.password
        self._token = ""
        self._renewing: asyncio.Lock = asyncio.Lock()
        self._endpoints = [
            Endpoint(url, _channel(url, credentials, settings)) for url in settings.endpoints
        ]
        self._current = 0
        self.term = 0
        """The latest election that an answer told of."""
        self.on_term: list[Callable[[], None]] = []
        self.on_move: list[Callable[[], None]] = []
        """For those who have a stream open: another endpoint is used from now on."""

    @property
    def endpoint(self) -> Endpoint:
        """The one in use. Raises `Refused` after `close`."""
        if not self._endpoints:
            raise Refused("this node is stopping")
        return self._endpoints[self._current]

    @property
    def endpoints(self) -> list[Endpoint]:
        return self._endpoints

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (_REQUIRE_LEADER, *self._identity)

    @property
    def _identity(self) -> tuple[tuple[str, str], ...]:
        return (("token", self._token),) if self._token else ()

    def told_term(self, term: int) -> None:
        """A majority has confirmed a read in this term."""
        if term > self.term:
            self.term = term
            for risen in self.on_term:
                risen()

    def move_on(self, failed: Endpoint) -> None:
        """Use another endpoint than `failed` from now on, if there is one."""
        if len(self._endpoints) < 2 or failed is not self.endpoint:
            return
        self._current = (self._current + 1) % len(self._endpoints)
        _log.debug("etcd at %s does not serve: asking %s", failed.url, self.endpoint.url)
        for moved in self.on_move:
            moved()

    async def call(
        self, pick: Callable[[Endpoint], Method], request: object, timeout_s: float = CALL_S_MAX
    ) -> Any:
        """The answer. Raises `Refused` or its kinds, or `OutcomeUnknown`."""
        token = self._token
        try:
            return await self.call_at(self.endpoint, pick, request, timeout_s)
        except TokenRejected:
            if not self._user:
                raise
            # It was refused before anything was done: saying it again is safe.
            await self.authenticate(token)
            return await self.call_at(self.endpoint, pick, request, timeout_s)

    async def call_any(self, pick: Callable[[Endpoint], Method], request: object) -> Any:
        """`call` for what only reads: asks each endpoint in turn until one says something."""
        left = len(self._endpoints)
        while True:
            left -= 1
            endpoint = self.endpoint
            try:
                return await self.call(pick, request)
            except (NotReached, OutcomeUnknown):
                self.move_on(endpoint)
                if left <= 0:
                    raise

    async def ask(
        self, endpoint: Endpoint, pick: Callable[[Endpoint], Method], request: object
    ) -> Any:
        """What `endpoint` knows by itself, with a leader or without."""
        return await self.call_at(endpoint, pick, request, metadata=self._identity)

    async def call_at(
        self,
        endpoint: Endpoint,
        pick: Callable[[Endpoint], Method],
        request: object,
        timeout_s: float = CALL_S_MAX,
        metadata: Sequence[tuple[str, str]] | None = None,
    ) -> Any:
        """`call` at one endpoint, with the token there is."""
        if metadata is None:
            metadata = self.metadata
        calling = pick(endpoint)(request, timeout=timeout_s, metadata=metadata)
        try:
            return await calling
        except asyncio.CancelledError:
            await _end(calling)
            raise
        except aio.AioRpcError as error:
            read = read_error(error.code(), error.details() or "", endpoint.url)
            if isinstance(read, NotReached):
                self.move_on(endpoint)
                if ailment := self.ailment():
                    read = NotReached(f"{read}: {ailment}")
            raise read from error

    @asynccontextmanager
    async def stream(self, method: Method) -> AsyncIterator[Any]:
        """A stream of `method`, which ends with the block. Raises `AioRpcError` inside."""
        stream = method(metadata=self.metadata)
        try:
            yield stream
        finally:
            await _end(stream)

    async def authenticate(self, rejected: str = "") -> None:
        """Get a token, unless somebody has got another than `rejected` meanwhile."""
        async with self._renewing:
            if not self._user or self._token != rejected:
                return
            self._token = ""
            request = AuthenticateRequest(name=self._user, password=self._password)
            answer = await self.call_at(self.endpoint, lambda at: at.auth.Authenticate, request)
            self._token = answer.token

    async def renew_token(self) -> None:
        """Whatever came of the token in use: get another."""
        await self.authenticate(self._token)

    async def close(self) -> None:
        """When no call is under way any more."""
        endpoints, self._endpoints = self._endpoints, []
        for endpoint in endpoints:
            await endpoint.channel.close()


async def _end(calling: Any) -> None:
    """Cancel, and wait until gRPC holds nothing of it any more."""
    calling.cancel()
    await calling.code()


def _channel(
    url: str, credentials: grpc.ChannelCredentials | None, settings: EtcdSettings
) -> aio.Channel:
    if url.startswith("https://"):
        if credentials is None:
            credentials = grpc.ssl_channel_credentials()
        # The certificate is for the host that was named.
        options = [option for option in _OPTIONS if option[0] != "grpc.default_authority"]
        return aio.secure_channel(dial_target(url), credentials, options=options)
    if settings.cert or settings.ca:
        raise CannotStart(f"{url} would be reached without TLS: write https://, or no certificates")
    return aio.insecure_channel(dial_target(url), options=_OPTIONS)


def _credentials(settings: EtcdSettings) -> grpc.ChannelCredentials | None:
    if settings.ca is None and settings.cert is None:
        return None
    if (settings.cert is None) != (settings.key is None):
        raise CannotStart("--etcd-cert and --etcd-key belong together: give both")
    return grpc.ssl_channel_credentials(
        _read("--etcd-ca", settings.ca),
        _read("--etcd-key", settings.key),
        _read("--etcd-cert", settings.cert),
    )


def _read(flag: str, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CannotStart(f"{flag} {path}: cannot be read ({error.strerror})") from error
