"""Who is told of which change: blocking reads wake once, subscriptions get every event.

Neither costs anything to those who asked about something else. A subscription's queue is
bounded; a reader that falls behind it is told so and takes a snapshot, instead of growing the
process or slowing the writers.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final, Self

from .views import BoardTopic, Event, KvTopic, Topic

HISTORY_EVENTS_MAX: Final = 8192
"""How far back a watch can be resumed: seconds of the heaviest load, days of the usual one."""

QUEUE_EVENTS_MAX: Final = 65_536
"""How far a subscription may fall behind: about 60 s at 1,000 changes a second."""

_EVERYTHING: Final = (None,)
"""`ServicesTopic(None)`, which every event concerns."""


class Lagged(Exception):
    """The reader was too slow, or asked for changes no longer kept: take a snapshot again."""


class Ended(Exception):
    """The node is shutting down: there will be no more events."""


class Subscription:
    """A bounded queue of the events of one topic; use as a context manager, or `close` it."""

    def __init__(self, watches: "Watches", topic: BoardTopic) -> None:
        self.topic = topic
        self._watches = watches
        self._events: list[Event] = []
        self._lagged = False
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> list[Event]:
        """The events since the last call, in order; waits for one. Raises `Lagged` or `Ended`.

        One task at a time may wait.
        """
        while not self._events and not self._lagged:
            if self._ended:
                raise Ended
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._lagged:
            self._lagged = False
            raise Lagged
        events, self._events = self._events, []
        return events

    def offer(self, events: Iterable[Event]) -> None:
        """Queue `events`; called by `Watches`."""
        if self._lagged:
            return
        self._events.extend(events)
        if len(self._events) > QUEUE_EVENTS_MAX:
            self._events.clear()
            self._lagged = True
        self._wake()

    def end(self) -> None:
        """Let the reader have what is queued and nothing more; called by `Watches`."""
        self._ended = True
        self._wake()

    def close(self) -> None:
        self._watches.unsubscribe(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Watches:
    """Subscriptions and waiters by topic, and the recent events."""

    def __init__(self) -> None:
        self._history: deque[Event] = deque()
        self._history_after = 0
        self._subscriptions: dict[tuple[object, ...], list[Subscription]] = {}
        self._waiters: dict[tuple[object, ...], set[asyncio.Future[bool]]] = {}
        self._prefix_chars: Counter[int] = Counter()
        self._closed = False

    def loaded(self, index: int) -> None:
        """Say that nothing up to `index` is in the history."""
        self._history.clear()
        self._history_after = index

    def subscribe(self, topic: BoardTopic, since: int | None) -> Subscription:
        """Events from now on, or after `since`. Raises `Lagged` when `since` is too old."""
        subscription = Subscription(self, topic)
        if since is not None:
            if since < self._history_after:
                raise Lagged
            subscription.offer(
                event for event in self._history if event.index > since and concerns(event, topic)
            )
        self._subscriptions.setdefault(topic, []).append(subscription)
        if self._closed:
            subscription.end()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Safe to repeat."""
        listening = self._subscriptions.get(subscription.topic, [])
        if subscription in listening:
            listening.remove(subscription)
        if not listening:
            self._subscriptions.pop(subscription.topic, None)

    def publish(self, events: list[Event]) -> None:
        """Tell everyone concerned of one batch; it is never split."""
        if not events:
            return
        self._history.extend(events)
        while len(self._history) > HISTORY_EVENTS_MAX:
            self._history_after = self._history.popleft().index
        by_topic: dict[tuple[object, ...], list[Event]] = {_EVERYTHING: events}
        if self._is_anything_narrower_asked():
            for event in events:
                for topic in topics_of(event):
                    if topic in self._subscriptions or topic in self._waiters:
                        by_topic.setdefault(topic, []).append(event)
        for topic, concerned in by_topic.items():
            for subscription in self._subscriptions.get(topic, ()):
                subscription.offer(concerned)
            self._wake(topic)

    def kv_changed(self, key: str) -> None:
        """Wake the blocking reads that asked about `key` or a prefix of it."""
        self._wake(KvTopic(key, recurse=False))
        for chars in self._prefix_chars:
            self._wake(KvTopic(key[:chars], recurse=True))

    async def wait(self, topic: Topic, timeout_s: float) -> bool:
        """Wait for the next change to `topic`; False when time is up or `close` was called."""
        if self._closed:
            return False
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if topic not in self._waiters:
            self._waiters[topic] = set()
            if isinstance(topic, KvTopic) and topic.recurse:
                self._prefix_chars[len(topic.key)] += 1
        self._waiters[topic].add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except TimeoutError:
            return False
        finally:
            self._stop_waiting(topic, waiter)

    def close(self) -> None:
        """Let every blocking read answer now, and every subscription end."""
        self._closed = True
        for listening in self._subscriptions.values():
            for subscription in listening:
                subscription.end()
        for waiting in list(self._waiters.values()):
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(False)

    def _stop_waiting(self, topic: Topic, waiter: asyncio.Future[bool]) -> None:
        waiting = self._waiters[topic]
        waiting.discard(waiter)
        if waiting:
            return
        del self._waiters[topic]
        if isinstance(topic, KvTopic) and topic.recurse:
            self._prefix_chars[len(topic.key)] -= 1
            self._prefix_chars += Counter()  # drops what has fallen to zero

    def _is_anything_narrower_asked(self) -> bool:
        """Often the DNS feed is the only one that listens, and there is nothing to sort out."""
        return any(
            len(asked) > (_EVERYTHING in asked) for asked in (self._subscriptions, self._waiters)
        )

    def _wake(self, topic: tuple[object, ...]) -> None:
        for waiter in self._waiters.get(topic, ()):
            if not waiter.done():
                waiter.set_result(True)


def topics_of(event: Event) -> tuple[tuple[object, ...], ...]:
    """Every topic but `_EVERYTHING` that a change to an instance belongs to, as the plain tuples
    that equal them: this is asked for every change, and a plain tuple costs a tenth."""
    namespace, service, _ = event.name
    return (namespace, service), (namespace,)


def concerns(event: Event, topic: BoardTopic) -> bool:
    return topic == _EVERYTHING or topic in topics_of(event)
