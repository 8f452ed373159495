"""Keeps a watch connected: events out, and a live local copy of one service for `pick`."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from functools import partial
from time import monotonic
from typing import Final

from .backoff import Backoff
from .balancing import Balancer, Peer, Policy
from .calling import BROKEN, Caller
from .errors import CallboardError, NotFound, TimedOut, UnexpectedAnswer
from .local_copy import LocalCopy
from .results import HANDED_OUT, Event, Instances
from .watching import Watch

CONNECT_S: Final = 10.0
"""How long a stream may take to begin before the next server is asked."""

_log: Final = logging.getLogger("callboard")


async def follow(
    caller: Caller,
    watch: Watch,
    first_timeout_s: float,
    heard: Callable[[], None] = lambda: None,
    lost: Callable[[CallboardError | None], None] = lambda error: None,
) -> AsyncGenerator[Event, None]:
    """Events until the caller is closed: a lost connection is made again, and resumes where it was.

    Raises `CallboardError` when the first connection cannot be made, and later only for a stream
    that is not callboard's. `heard` is called when
    a connection is made, and after the events of each piece that arrives; `lost` when it is gone.
    """
    backoff = Backoff()
    timeout_s, first = first_timeout_s, True
    while not caller.closed:
        failure: CallboardError | None = None
        try:
            async with caller.stream(watch.request, timeout_s, watch.headers()) as body:
                watch.connected()
                first, timeout_s = False, CONNECT_S
                heard()  # who resumes may hear nothing for a while: nothing has changed then
                async for chunk in body.iter_any():
                    for event in watch.feed(chunk):
                        yield event
                    backoff.reset()
                    heard()
        except CallboardError as error:
            if first or isinstance(error, UnexpectedAnswer):
                raise
            failure = error
        except RuntimeError:
            if not caller.closed:
                raise
            return  # closed while it waited for a server
        except BROKEN as error:
            _log.debug("the watch of %s broke: %s", watch.request.path, error)
        lost(failure)
        await caller.pause(backoff.next_s())


class Following:
    """A local copy of one service, kept by a task, and the balancer over it.

    `pick_now` may be called from any thread, everything else belongs to the event loop's.
    """

    def __init__(self, caller: Caller, service: str, namespace: str) -> None:
        self.service = service
        self._caller = caller
        self._watch = Watch(service, namespace)
        self._copy = LocalCopy()
        self._balancer = Balancer()
        self._lock = threading.Lock()
        self._given_back: deque[str] = deque()
        self._waiting: set[asyncio.Future[None]] = set()
        self._wanted = asyncio.Event()
        self._task = asyncio.create_task(self._keep(), name=f"callboard-follow-{service}")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(RuntimeError("this callboard client was closed meanwhile"))

    @property
    def filled(self) -> bool:
        return self._copy.filled

    async def wait_filled(self, timeout_s: float) -> None:
        """Raises what the connection fails with, or `TimedOut`."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        self._wanted.set()
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError as error:
            raise TimedOut(
                f"no server told of {self.service!r} within {timeout_s:g} s", code="timeout"
            ) from error
        finally:
            self._waiting.discard(waiter)

    def instances(self, passing: bool, tag: str | None, meta: dict[str, str]) -> Instances:
        """From the copy, with its age."""
        with self._lock:
            found = self._copy.all()
            age_s = self._copy.age_s(monotonic())
        return Instances(
            [
                instance
                for instance in found
                if (not passing or instance.status in HANDED_OUT)
                and (tag is None or tag in instance.tags)
                and meta.items() <= instance.meta.items()
            ],
            self._copy.at_index,
            age_s,
        )

    def pick_now(self, policy: Policy, tag: str | None) -> Peer:
        """Choose from the copy, without waiting. Raises `NotFound`, `InvalidArgument`."""
        with self._lock:
            while self._given_back:
                self._balancer.given_back(self._given_back.popleft())
            candidates = self._copy.candidates(tag)
            if not candidates:
                tagged = f" with tag {tag!r}" if tag else ""
                raise NotFound(
                    f"no instance of {self.service!r}{tagged} is handed out now",
                    code="no_instance",
                )
            chosen = self._balancer.choose(policy, candidates, tag)
            age_s = self._copy.age_s(monotonic())
            if policy != "least-used":
                return Peer(chosen, age_s)
            self._balancer.taken(chosen.id)
        # The collector may release a peer at any moment, also inside this lock: hence the queue.
        return Peer(chosen, age_s, partial(self._given_back.append, chosen.id))

    async def _keep(self) -> None:
        backoff = Backoff()
        while not self._caller.closed:
            self._wanted.clear()
            events = follow(self._caller, self._watch, CONNECT_S, self._heard, self._lost)
            try:
                async with aclosing(events):
                    async for event in events:
                        with self._lock:
                            self._copy.apply(event)
                        backoff.reset()
            except CallboardError as error:
                self._lost(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff.next_s()):
                    await self._wanted.wait()

    def _heard(self) -> None:
        with self._lock:
            self._copy.heard(monotonic())
        if self._copy.filled:
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)

    def _lost(self, failure: CallboardError | None) -> None:
        with self._lock:
            self._copy.lost()
        for waiter in self._waiting:
            if failure is not None and not waiter.done():
                waiter.set_exception(failure)
