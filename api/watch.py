"""Server-sent events: a snapshot first, then every change in order."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import zip_longest
from typing import Final, Literal

import msgspec
from aiohttp import web

from ..registry import Ended, Event, Lagged, Listed, ServicesTopic, ServiceTopic, Subscription
from .answers import InstanceAnswer, instance_answer
from .call import Call
from .errors import invalid
from .inputs import checked_name
from .responses import encode, headers
from .streaming import begin, send

PING_S: Final = 15.0
"""Proxies close what is silent for 30 s or more, and a dead reader shows only when written to."""
ALL_NAMESPACES: Final = "*"


class DeleteAnswer(InstanceAnswer):
    """What went: the instance as it was last, and why."""

    reason: Literal["deregistered", "expired"] = "deregistered"


async def watch(call: Call) -> web.StreamResponse:
    topic, since = _topic(call), _since(call)
    await call.consistent()
    made = headers(call.registry, "text/event-stream")
    made["Cache-Control"] = "no-cache"
    made["X-Accel-Buffering"] = "no"  # or nginx would collect events until a page is full
    response = await begin(call, made)
    if call.request.method == "HEAD":
        return response
    with call.abandoned_with_connection():
        async for data in _events(call, topic, since):
            await send(call, response, data)
    return response


async def _events(
    call: Call, topic: ServicesTopic | ServiceTopic, since: int | None
) -> AsyncIterator[bytes]:
    """Encoded events until the node shuts down."""
    if since is not None:
        await call.registry.catch_up(since)
        if since > call.registry.index:
            since = None  # of another board: this one was made anew meanwhile
    while True:
        try:
            with call.registry.subscribe(topic, since) as subscription:
                told = call.registry.index if since is None else since
                if since is None:
                    async for part in _snapshot(call, topic):
                        yield part
                async for part in _changes(subscription, told):
                    yield part
            return
        except Lagged:
            since = None


async def _snapshot(call: Call, topic: ServicesTopic | ServiceTopic) -> AsyncIterator[bytes]:
    """One event, however long. Its index is that of its beginning: what changes while it is
    sent comes as events behind it, some of which it may show already."""
    yield f"id: {call.registry.index}\nevent: snapshot\ndata: ".encode() + b'{"instances":['
    separator = b""
    for page in call.registry.listing(topic):
        yield separator + b",".join(encode(instance_answer(listed)) for listed in page)
        separator = b","
        await asyncio.sleep(0)
    yield b"]}\n\n"


async def _changes(subscription: Subscription, told: int) -> AsyncIterator[bytes]:
    """What comes after the index `told`."""
    while True:
        try:
            async with asyncio.timeout(PING_S):
                events = await subscription.next()
        except TimeoutError:
            yield b": ping\n\n"
            continue
        except Ended:
            return
        yield b"".join(_encoded_batch(events, told))
        told = events[-1].index


def _encoded_batch(events: Sequence[Event], told: int) -> Iterator[bytes]:
    """An id says up to which index everything has been told, so of the changes of one index the
    last alone carries it. A connection may break between them: whoever resumes from what came last
    is then told the whole index again, and would otherwise miss the rest of it for ever."""
    for event, following in zip_longest(events, events[1:]):
        if following is None or following.index != event.index:
            told = event.index
        yield _encoded(event, told)


def _encoded(event: Event, told: int) -> bytes:
    if event.listed is not None:
        kind, shown = "put", encode(instance_answer(event.listed))
    else:
        kind, shown = "delete", encode(_deleted(event, event.last))
    return f"id: {told}\nevent: {kind}\ndata: ".encode() + shown + b"\n\n"


def _deleted(event: Event, last: Listed | None) -> DeleteAnswer:
    assert last is not None, "what was not there cannot go"
    reason: Literal["deregistered", "expired"] = "expired" if event.expired else "deregistered"
    return DeleteAnswer(**msgspec.structs.asdict(instance_answer(last)), reason=reason)


def _topic(call: Call) -> ServicesTopic | ServiceTopic:
    service = call.parameter("service")
    if call.parameter("namespace") == ALL_NAMESPACES:
        if service:
            raise invalid("service", "with namespace=* all services are watched: leave it out")
        return ServicesTopic(None)
    namespace = call.namespace.lower()
    if not service:
        return ServicesTopic(namespace)
    return ServiceTopic(namespace, checked_name("service", service).lower())


def _since(call: Call) -> int | None:
    last = call.request.headers.get("Last-Event-ID")
    if last is None:
        return call.number("index")
    # The header is the browser's copy of an id that we sent: anything else is a fresh start.
    return int(last) if last.isascii() and last.isdigit() and len(last) < 20 else None
