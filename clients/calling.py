"""The HTTP shell: carries requests to servers with aiohttp, as `Attempts` decides."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp.client import _RequestContextManager
from yarl import URL

from .attempts import Attempts, Try, Wait
from .backoff import Backoff
from .endpoints import Endpoints
from .errors import CallboardError, OutcomeUnknown, Unavailable, UnexpectedAnswer
from .request import Answer, Request, interpret
from .trust import Trust

CONNECTIONS_MAX: Final = 100
"""Calls of one client that are under way at once; more wait for a connection."""
STREAMS_UNLIMITED: Final = 0
"""As many as there are watches and services picked from; aiohttp reads 0 as no limit."""
SILENCE_S_MAX: Final = 45.0
"""A stream without a byte for so long is taken for dead: servers send a comment every 15 s."""

T = TypeVar("T")
R = TypeVar("R")


class NotAnswered(Exception):
    """The connection broke after the request may have been read."""


class NotAdmitted(Exception):
    """The server broke TLS off because of our certificate, or for want of one."""


UNSENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, NotAdmitted)
BROKEN: Final = (aiohttp.ClientError, NotAnswered, TimeoutError, OSError)
"""What a connection can end in once the request may have been read."""


async def _ask_once(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a PUT by itself when the connection breaks under it."""
    try:
        response: aiohttp.ClientResponse = await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if (refused := _certificate_refused(error)) is not None:
            raise NotAdmitted(refused) from error
        raise NotAnswered(reason(error)) from error
    return response


def _certificate_refused(error: BaseException) -> str | None:
    """In TLS 1.3 a server reads our certificate after we have begun to send (RFC 8446 4.4.2)."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    alert = str(getattr(cause, "reason", None) or "")
    if "ALERT" not in alert or not ("CERTIFICATE" in alert or "UNKNOWN_CA" in alert):
        return None
    if "REQUIRED" in alert:
        return "it wants a client certificate: name one with cert and key"
    return "it refused our client certificate: " + alert.rpartition("ALERT_")[2].lower()


class Caller:
    """One session and what is known of the servers. `close()` may be called again."""

    def __init__(
        self,
        servers: Sequence[str],
        headers: Mapping[str, str],
        trust: Trust | None = None,
    ) -> None:
        self.endpoints = Endpoints(servers)
        self._trust = trust
        self._headers = headers
        self._sessions: dict[int, aiohttp.ClientSession] = {}
        self._closing = asyncio.Event()
        self._streams: set[aiohttp.ClientResponse] = set()

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    async def pause(self, seconds: float) -> None:
        """Sleep, but not beyond `close`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def _session(self, connections_max: int) -> aiohttp.ClientSession:
        """Streams have one of their own: a hundred watches must not keep calls waiting."""
        if self.closed:
            raise RuntimeError("this callboard client is closed: make a new one")
        session = self._sessions.get(connections_max)
        if session is None:
            session = self._sessions[connections_max] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=connections_max, ssl=self._trust.context if self._trust else True
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return session

    async def close(self) -> None:
        self._closing.set()
        for stream in self._streams:
            stream.close()  # a session that closes does not wake those who read from it
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    async def call(
        self, request: Request[T], timeout_s: float, body: Callable[[], Any] | None = None
    ) -> T:
        """One call on whichever server answers. `body` makes a payload for each attempt.

        Raises `CallboardError`.
        """

        async def ask(attempt: Try, repeated: bool) -> T:
            timeout = aiohttp.ClientTimeout(attempt.total_s, sock_connect=attempt.connect_s)
            payload = request.body if body is None else body()
            async with self._open(attempt, request, timeout, payload) as response:
                answer = Answer(response.status, response.headers, await response.read())
            return interpret(request, answer, repeated=repeated)

        return await self._until_answered(request, timeout_s, ask)

    @asynccontextmanager
    async def stream(
        self,
        request: Request[Any],
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        *,
        silence_s: float = SILENCE_S_MAX,
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of an answer as it comes; `timeout_s` is for its beginning, and it breaks when
        nothing comes for `silence_s`.

        Raises `CallboardError`; what breaks the body is for the reader, see `BROKEN`.
        """
        timeout = aiohttp.ClientTimeout(None, sock_read=silence_s)

        async def ask(attempt: Try, repeated: bool) -> aiohttp.ClientResponse:
            async with asyncio.timeout(attempt.total_s):
                response = await self._open(
                    attempt, request, timeout, None, headers, STREAMS_UNLIMITED
                )
                if response.status == 200:
                    return response
                async with response:
                    answer = Answer(response.status, response.headers, await response.read())
            interpret(request, answer)
            raise UnexpectedAnswer(
                f"no stream came from {request.path}: status {answer.status}", status=answer.status
            )

        response = await self._until_answered(request, timeout_s, ask)
        self._streams.add(response)
        try:
            yield response.content
        finally:
            self._streams.discard(response)
            response.close()

    def _open(
        self,
        attempt: Try,
        request: Request[Any],
        timeout: aiohttp.ClientTimeout,
        payload: Any,
        headers: Mapping[str, str] | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> _RequestContextManager:
        return self._session(connections_max).request(
            request.method,
            URL(attempt.server + request.target, encoded=True),
            data=payload,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            middlewares=() if request.repeatable else (_ask_once,),
        )

    def _why(self, server: str, error: BaseException) -> str:
        """A reset often overtakes the alert that would say that a certificate is wanted."""
        told = reason(error)
        if self._trust and self._trust.anonymous and server.startswith("https:"):
            told += "; if it wants a client certificate, name one with cert and key"
        return told

    async def _until_answered(
        self, request: Request[Any], timeout_s: float, ask: Callable[[Try, bool], Awaitable[R]]
    ) -> R:
        attempts = Attempts(
            self.endpoints,
            writes=request.writes,
            repeatable=request.repeatable,
            timeout_s=timeout_s,
            now=self.now(),
            backoff=Backoff(),
        )
        while True:
            step = attempts.next(self.now())
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                continue
            try:
                result = await ask(step, attempts.maybe_done)
            except (Unavailable, OutcomeUnknown) as error:
                attempts.refused(step.server, error, self.now())
            except CallboardError:
                attempts.answered(step.server)
                raise
            except UNSENT as error:
                attempts.unsent(step.server, reason(error), self.now(), error)
            except BROKEN as error:
                attempts.unanswered(step.server, self._why(step.server, error), self.now(), error)
            else:
                attempts.answered(step.server)
                return result


def reason(error: BaseException) -> str:
    """Short, for the person who reads "no server answered"."""
    if (refused := _certificate_refused(error)) is not None:
        return refused
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _mistrust(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        return (os.strerror(cause.errno) if cause.errno and cause.errno > 0 else str(cause)).lower()
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def _mistrust(error: BaseException) -> str:
    why = str(getattr(error, "verify_message", "") or error).lower().rstrip(".")
    if "self-signed" in why or "issuer" in why:
        why += "; name the CA that made it with ca"
    return f"its certificate cannot be trusted: {why}"
