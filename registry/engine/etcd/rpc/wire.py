"""One connection to a server, and who waits for what on it."""

import asyncio
import select
from typing import Final, Protocol, cast

from .session import Ended, Message, Session, SessionError, Unprocessed
from .status import NotSent, RpcError, StatusCode

SILENT_S_MAX: Final = 6.0
"""While calls are under way: then a ping asks whether the server is there at all. etcd drops who
pings more often than every 5 s."""
PING_S_MAX: Final = 2.0
"""For its answer, or anything else."""
ANSWER_S: Final = 0.5
"""Until pings are answered. Go's servers send one after what they are told, to estimate the way
there, and none before that is answered: at once would be a round of wakings for each call."""
_CLOSED: Final = "the server closed the connection"
_TURNS_MAX: Final = 4
"""Of the loop, until a server's last words and the end have been read, with any kind of loop."""


class Hearer(Protocol):
    """Whoever waits for what a call brings."""

    def message(self, payload: bytes) -> None: ...

    def ended(self, error: RpcError | None) -> None: ...


class Wire(asyncio.Protocol):
    """`ready` comes when the server has said that it speaks HTTP/2, or fails with `NotSent`;
    `lost` when nothing is left of the connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = Session()
        self._transport: asyncio.Transport | None = None
        self._hearers: dict[int, Hearer] = {}
        self._heard_at = self._loop.time()
        self._pinged = False
        self._watchdog: asyncio.TimerHandle | None = None
        self._answering: asyncio.TimerHandle | None = None
        self._why = ""
        self._news = select.poll()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[None] = self._loop.create_future()

    @property
    def takes_calls(self) -> bool:
        return self._session.ready and not self._session.leaving and not self._why

    async def hear(self) -> None:
        """What has come already, before anything else is said: when this process was stopped for
        a while, or its loop was busy, it may be that the server has gone."""
        for _ in range(_TURNS_MAX):
            if not self._news.poll(0):
                return
            await asyncio.sleep(0)

    def begin(self, block: bytes, message: bytes, hearer: Hearer, *, ends: bool) -> int:
        """A call, as in `Session.begin`, of which `hearer` is told everything. Raises `NotSent`."""
        if not self.takes_calls:
            raise NotSent(self._why or "the server takes no calls any more")
        call = self._session.begin(block, message, ends=ends)
        self._hearers[call] = hearer
        self._flush()
        if self._watchdog is None:
            self._watch(SILENT_S_MAX)
        return call

    def forget(self, call: int) -> None:
        """Nobody waits for `call` any more; when it has not ended, the server is told."""
        if self._hearers.pop(call, None) is not None:
            self._session.reset(call)
            self._flush()

    def abort(self, why: str) -> None:
        """Calls under way fail."""
        self._why = self._why or why
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._news.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self._pinged = False
        try:
            events = self._session.receive(data)
        except SessionError as error:
            self.abort(f"it does not speak HTTP/2 as it should: {error}")
            return
        if self._session.ready and not self.ready.done():
            self.ready.set_result(None)
        for event in events:
            if isinstance(event, Message):
                if (hearer := self._hearers.get(event.call)) is not None:
                    hearer.message(event.payload)
            elif (hearer := self._hearers.pop(event.call, None)) is not None:
                hearer.ended(_error_of(event))
        if self._session.pings and self._answering is None:
            self._answering = self._loop.call_later(ANSWER_S, self._answer)
        self._flush()

    def eof_received(self) -> None:
        self._why = self._why or _CLOSED

    def connection_lost(self, error: Exception | None) -> None:
        self._why = self._why or str(error or "") or _CLOSED
        self._news = select.poll()  # the number of the socket will be another's
        for timer in (self._watchdog, self._answering):
            if timer is not None:
                timer.cancel()
        if not self.ready.done():
            self.ready.set_exception(NotSent(self._why))
        hearers, self._hearers = self._hearers, {}
        for hearer in hearers.values():
            hearer.ended(RpcError(StatusCode.UNAVAILABLE, self._why))
        self.lost.set_result(None)

    def _flush(self) -> None:
        if self._transport is not None and (out := self._session.take()):
            self._transport.write(out)
        if self._session.leaving and not self._hearers:
            self.abort("the server has taken its leave")

    def _answer(self) -> None:
        self._answering = None
        self._session.answer_pings()
        self._flush()

    def _watch(self, wait_s: float) -> None:
        self._watchdog = self._loop.call_later(wait_s, self._look)

    def _look(self) -> None:
        self._watchdog = None
        silent_s = self._loop.time() - self._heard_at
        if self._pinged:
            self.abort(f"the server has been silent for {silent_s:.0f} s")
        elif self._hearers and silent_s < SILENT_S_MAX:
            self._watch(SILENT_S_MAX - silent_s)
        elif self._hearers:
            self._pinged = True
            self._session.ping()
            self._flush()
            self._watch(PING_S_MAX)


def _error_of(event: Ended | Unprocessed) -> RpcError | None:
    if isinstance(event, Unprocessed):
        return NotSent("the server takes no calls any more")
    if event.code == StatusCode.OK:
        return None
    try:
        code = StatusCode(event.code)
    except ValueError:
        code = StatusCode.UNKNOWN
    return RpcError(code, event.details)
