"""The node's end of the conversation with one writer process."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from .frames import (
    Answer,
    Applied,
    CannotOpen,
    Closed,
    Ready,
    Rejected,
    Splitter,
    WireOperation,
    decode_answer,
    decode_results,
    encode,
)
from .history import History
from .seam import (
    CannotStart,
    Change,
    Conflict,
    Delete,
    Done,
    Operation,
    OutcomeUnknown,
    Put,
    Refused,
    Result,
)

WAITING_OPERATIONS_MAX: Final = 131_072
"""Accepted and not yet answered: seconds of work for the writer. More are refused at once."""
REFUSED_S: Final = 10.0
"""How long a refused write makes this node say that it takes none: a load balancer that believes it
sends no write that would show the opposite."""
WAITING_BYTES_MAX: Final = 256 * 1024 * 1024
"""The same for large values, which are held here, in the socket and in the writer."""
CALL_BYTES_MAX: Final = 2 * 1024 * 1024 * 1024
"""A call is one message, whose length has 32 bits; a restored board is one call."""
CLOSE_S_MAX: Final = 60.0
"""How long the writer may take to finish what was accepted and empty its log."""
EXIT_S_MAX: Final = 5.0
"""How long it may take to end after its last word, before it is killed."""

GONE: Final = "the writer process is gone"
NO_MORE: Final = "Nothing is written until this node is restarted"


class _Call:
    __slots__ = ("answer", "operations", "size_bytes")

    def __init__(
        self, operations: Sequence[Operation], answer: asyncio.Future[list[Result]]
    ) -> None:
        self.operations = operations
        self.answer = answer
        size_bytes = 0
        for operation in operations:
            if isinstance(operation, Put):
                size_bytes += len(operation.value)
        self.size_bytes = size_bytes


class WriterLink(asyncio.Protocol):
    """Sends calls to the writer, and hands its answers to watchers and then to callers.

    `stopped` says why it will write nothing any more, "" otherwise. `history` is to be set before
    the first call.
    """

    history: History

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Only for `start`."""
        self._process = process
        self._transport: asyncio.Transport | None = None
        self._splitter = Splitter()
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._ready: asyncio.Future[int] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when nothing more can come."""
        self.revision = 0
        """Of the board as the writer has opened it."""
        self._sent: deque[_Call] = deque()
        self._unsent: list[_Call] = []
        self._waiting_operations = 0
        self._waiting_bytes = 0
        self._closing = False
        self.stopped = ""
        self._refused = ""
        self._refused_until = 0.0

    @classmethod
    async def start(cls, data_dir: Path) -> "WriterLink":
        """Start the writer and wait until it has opened the board. Raises `CannotStart`."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.to_thread(_spawn, theirs, data_dir)
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(lambda: cls(process), sock=ours)
        try:
            link.revision = await link._ready
        except BaseException:
            await link._end()
            raise
        return link

    @property
    def refused(self) -> str:
        """Why a write was refused lately, and none taken since; "" when none was."""
        return self._refused if self._loop.time() < self._refused_until else ""

    def commit(self, operations: Sequence[Operation]) -> asyncio.Future[list[Result]]:
        """Raises `Refused`, `OutcomeUnknown`."""
        if self.stopped or self._closing:
            raise Refused(self.stopped or "this node is stopping")
        if (
            self._waiting_operations >= WAITING_OPERATIONS_MAX
            or self._waiting_bytes >= WAITING_BYTES_MAX
        ):
            raise Refused("too many writes are waiting for the disk: try again later")
        answer: asyncio.Future[list[Result]] = self._loop.create_future()
        if not operations:
            answer.set_result([])
            return answer
        call = _Call(operations, answer)
        if call.size_bytes > CALL_BYTES_MAX:
            raise Refused(f"one commit takes at most {CALL_BYTES_MAX} bytes")
        # While the writer syncs, calls gather here: what it gets next is one large group.
        if not self._unsent and not self._sent:
            self._loop.call_soon(self._flush)
        self._unsent.append(call)
        self._waiting_operations += len(operations)
        self._waiting_bytes += call.size_bytes
        return answer

    def _flush(self) -> None:
        if not self._unsent:
            return
        calls, self._unsent = self._unsent, []
        self._sent.extend(calls)
        if self._transport is not None and not self.stopped:
            self._transport.write(encode([_wire(call.operations) for call in calls]))

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for payload in self._splitter.feed(data):
            self._answered(decode_answer(payload))
        if not self._sent:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The writer is gone: as it should be, or killed by somebody."""
        if not self._ready.done():
            self._ready.set_exception(CannotStart("the writer process ended while it started"))
        if not self._closing and not self.stopped:
            self.stopped = GONE
        self._reject(len(self._sent), unknown=True)
        self._flush()
        self._reject(len(self._sent), unknown=False)
        if not self.gone.done():
            self.gone.set_result(None)

    def _answered(self, answer: Answer) -> None:
        match answer:
            case Ready() | CannotOpen():
                self._opened(answer)
            case Applied():
                self._apply(answer)
            case Rejected():
                self._rejected(answer)
            case Closed():
                pass  # the end of the stream follows

    def _opened(self, answer: Ready | CannotOpen) -> None:
        if self._ready.done():
            return  # nobody waits any more
        if isinstance(answer, Ready):
            self._ready.set_result(answer.revision)
        else:
            self._ready.set_exception(CannotStart(answer.reason))

    def _rejected(self, answer: Rejected) -> None:
        self._refused = answer.reason
        self._refused_until = self._loop.time() + REFUSED_S
        if answer.stopped:
            self._stop(answer.reason)
        self._reject(answer.calls, unknown=answer.unknown)
        if answer.stopped:
            self._flush()
            self._reject(len(self._sent), unknown=False)

    def _apply(self, applied: Applied) -> None:
        calls = [self._next_answered() for _ in range(applied.calls)]
        results, changes = _read_results(calls, applied.results)
        # Watchers first: who has its answer may rely on the watcher being told already.
        if changes:
            self._refused = ""
            self.history.append(changes)
        for call, result in zip(calls, results, strict=True):
            if not call.answer.done():
                call.answer.set_result(result)

    def _next_answered(self) -> _Call:
        call = self._sent.popleft()
        self._waiting_operations -= len(call.operations)
        self._waiting_bytes -= call.size_bytes
        return call

    def _reject(self, calls: int, *, unknown: bool) -> None:
        reason = self.stopped or self._refused or GONE
        for _ in range(calls):
            call = self._next_answered()
            if not call.answer.done():
                call.answer.set_exception(OutcomeUnknown(reason) if unknown else Refused(reason))

    def _stop(self, reason: str) -> None:
        if not self.stopped:
            self.stopped = f"{reason}. {NO_MORE}"

    async def close(self) -> None:
        """Finish what was accepted, and end the writer."""
        self._closing = True
        self._flush()
        if self._transport is not None and not self.gone.done():
            self._transport.write(encode([]))
            await asyncio.wait([self.gone], timeout=CLOSE_S_MAX)
        await self._end()

    @property
    def has_stopped(self) -> bool:
        """Whether it has said that it writes no more."""
        return self.stopped.endswith(NO_MORE)

    async def was_killed(self) -> bool:
        """Once it is `gone`: whether somebody has ended it, or the kernel for want of memory. Of
        the other signals SIGBUS tells of a disk that failed under a mapped file."""
        await self._end()
        return self._process.returncode == -signal.SIGKILL

    async def _end(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        try:
            await asyncio.to_thread(self._process.wait, EXIT_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        await self.gone


def _spawn(channel: socket.socket, data_dir: Path) -> subprocess.Popen[bytes]:
    # -P: a folder of the user's must not stand in for one of our modules.
    command = [sys.executable, "-P", "-m", f"{__package__}.writer"]
    return subprocess.Popen(
        [*command, str(channel.fileno()), str(data_dir)],
        pass_fds=[channel.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a reader of ours must not wait for the writer's end as well
    )


def _wire(operations: Sequence[Operation]) -> list[WireOperation]:
    return [
        (operation.key, operation.value if isinstance(operation, Put) else None, operation.expect)
        for operation in operations
    ]


def _read_results(calls: list[_Call], packed: bytes) -> tuple[list[list[Result]], list[Change]]:
    numbers = decode_results(packed)
    results: list[list[Result]] = []
    changes: list[Change] = []
    for call in calls:
        of_call: list[Result] = []
        for operation, (revision, other) in zip(call.operations, numbers, strict=False):
            if not revision:
                of_call.append(Conflict(other))
                continue
            of_call.append(Done(revision, other))
            if isinstance(operation, Delete):
                change = Change(operation.key, None, revision, other, operation.expired)
            else:
                change = Change(operation.key, operation.value, revision, other)
            changes.append(change)
        results.append(of_call)
    return results, changes
