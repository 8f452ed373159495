"""The channels to an etcd: one endpoint is in use, and another when that one fails."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from google.protobuf.message import DecodeError

from ..seam import OutcomeUnknown, Refused
from .callboard_etcd_pb2 import AuthenticateRequest
from .dialing import targets
from .errors import NotReached, TokenRejected, read_error
from .methods import AUTHENTICATE, Answer, Method, Request
from .rpc import Channel, Metadata, NotSent, RpcError, StatusCode, Stream
from .settings import EtcdSettings

CALL_S_MAX: Final = 2.0
"""A read or a renewal that takes longer will not come: ask another member."""

_REQUIRE_LEADER: Final = ("hasleader", "true")

_log: Final = logging.getLogger("callboard.etcd")


class Endpoint:
    """One member's address, and the way there."""

    def __init__(self, url: str, channel: Channel) -> None:
        self.url = url
        self.member = 0
        """The id of whoever last answered here."""
        self.channel = channel


class Connection:
    """`call` one unary method at the endpoint in use; never repeats what may have been applied."""

    def __init__(self, settings: EtcdSettings, ailment: Callable[[], str] = lambda: "") -> None:
        """Raises `CannotStart` when a certificate cannot be read.

        `ailment` tells what is known of a member that is not reached, "" for nothing.
        """
        self.ailment: Final = ailment
        self._user, self._password = settings.user, settings.password
        self._token = ""
        self._renewing: asyncio.Lock = asyncio.Lock()
        self._endpoints = [
            Endpoint(url, Channel(target)) for url, target in targets(settings).items()
        ]
        self._current = 0
        self.term = 0
        """The latest election that an answer told of."""
        self.answered_at = 0.0
        """When a majority was last behind an answer, by the loop's clock."""
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
    def metadata(self) -> Metadata:
        return (_REQUIRE_LEADER, *self._identity)

    @property
    def _identity(self) -> Metadata:
        return (("token", self._token),) if self._token else ()

    def told_term(self, term: int) -> None:
        """A majority has confirmed a read or a write in this term."""
        self.answered_at = asyncio.get_running_loop().time()
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
        self, method: Method[Request, Answer], request: Request, timeout_s: float = CALL_S_MAX
    ) -> Answer:
        """The answer. Raises `Refused` or its kinds, or `OutcomeUnknown`."""
        token = self._token
        try:
            return await self.call_at(self.endpoint, method, request, timeout_s)
        except TokenRejected:
            if not self._user:
                raise
            # It was refused before anything was done: saying it again is safe.
            await self.authenticate(token)
            return await self.call_at(self.endpoint, method, request, timeout_s)

    async def call_any(self, method: Method[Request, Answer], request: Request) -> Answer:
        """`call` for what only reads: asks each endpoint in turn until one says something."""
        left = len(self._endpoints)
        while True:
            left -= 1
            endpoint = self.endpoint
            try:
                return await self.call(method, request)
            except (NotReached, OutcomeUnknown):
                self.move_on(endpoint)
                if left <= 0:
                    raise

    async def ask(
        self, endpoint: Endpoint, method: Method[Request, Answer], request: Request
    ) -> Answer:
        """What `endpoint` knows by itself, with a leader or without."""
        return await self.call_at(endpoint, method, request, metadata=self._identity)

    async def call_at(
        self,
        endpoint: Endpoint,
        method: Method[Request, Answer],
        request: Request,
        timeout_s: float = CALL_S_MAX,
        metadata: Metadata | None = None,
    ) -> Answer:
        """`call` at one endpoint, with the token there is."""
        if metadata is None:
            metadata = self.metadata
        message = request.SerializeToString()
        try:
            answer = await endpoint.channel.call(method.path, metadata, message, timeout_s)
        except RpcError as error:
            read = read_error(error, endpoint.url)
            if isinstance(read, NotReached):
                self.move_on(endpoint)
                why = self.ailment() or (error.details if isinstance(error, NotSent) else "")
                if why:
                    read = NotReached(f"{read}: {why}")
            raise read from error
        try:
            return method.answer.FromString(answer)
        except DecodeError as error:
            raise OutcomeUnknown(f"etcd at {endpoint.url} says what cannot be read") from error

    @asynccontextmanager
    async def stream(
        self,
        endpoint: Endpoint,
        method: Method[Request, Answer],
        request: Request,
        take: Callable[[Answer], None],
    ) -> AsyncIterator[Stream]:
        """`take` is given what `method` answers at `endpoint`, until the block ends. Raises
        `RpcError`."""

        def read(payload: bytes) -> None:
            try:
                answer = method.answer.FromString(payload)
            except DecodeError as error:
                raise RpcError(StatusCode.INTERNAL, "it says what cannot be read") from error
            take(answer)

        message = request.SerializeToString()
        async with endpoint.channel.stream(method.path, self.metadata, message, read) as stream:
            yield stream

    async def authenticate(self, rejected: str = "") -> None:
        """Get a token, unless somebody has got another than `rejected` meanwhile."""
        async with self._renewing:
            if not self._user or self._token != rejected:
                return
            self._token = ""
            request = AuthenticateRequest(name=self._user, password=self._password)
            answer = await self.call_at(self.endpoint, AUTHENTICATE, request)
            self._token = answer.token

    async def renew_token(self) -> None:
        """Whatever came of the token in use: get another."""
        await self.authenticate(self._token)

    async def close(self) -> None:
        """When no call is under way any more."""
        endpoints, self._endpoints = self._endpoints, []
        for endpoint in endpoints:
            await endpoint.channel.close()
