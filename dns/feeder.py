"""Keeping one DNS worker's copy of the board: a snapshot, then every change.

Subscribing comes before listing, so nothing is missed; what changes while the listing is read
is sent again before the END, so that no state older than another is ever answered from.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from ..registry.instance import Instance
from ..registry.registry import Registry
from ..registry.views import Event, Listed, ServicesTopic
from ..registry.watches import Ended, Lagged, Subscription
from .feed import FeedKind, pack_message
from .freshness import HEARTBEAT_S
from .projection import id_prefix, key_of, pack_record

PAGE_RECORDS: Final = 500
"""A message of the feed: some 50 KB, and a millisecond of the event loop to make."""

GATHER_S: Final = 0.002
"""Between two messages: under load a worker is then woken once for many changes. One that comes
alone is sent at once, and none waits longer than this."""

Send = Callable[[bytes], Awaitable[None]]
"""Several tasks call it: it must send one message after the other."""

Pack = Callable[[Instance], bytes]

_MS: Final = 1000
_EVERYTHING: Final = ServicesTopic(None)


async def feed(registry: Registry, send: Send, weight_scale: int = 1) -> None:
    """Run until cancelled, or until `send` raises; it is waited for, which is the backpressure."""
    pack = partial(pack_record, weight_scale=weight_scale)
    while True:
        with registry.subscribe(_EVERYTHING) as subscription:
            try:
                await _snapshot(registry, subscription, send, pack)
                while True:
                    await _send_events(await subscription.next(), send, pack)
                    await asyncio.sleep(GATHER_S)
            except Lagged:
                continue  # the worker was slower than the changes: it gets a fresh copy
            except Ended:
                return  # the node is stopping; the worker answers from its copy until it is told


async def beat(registry: Registry, send: Send) -> None:
    """Say again and again how old the board is, like `feed`; at once the first time."""
    while True:
        as_of_ms = time.monotonic() * _MS - registry.staleness_ms()
        await send(pack_message(FeedKind.HEARTBEAT, 0, (int(as_of_ms),)))
        await asyncio.sleep(HEARTBEAT_S)


async def _snapshot(registry: Registry, subscription: Subscription, send: Send, pack: Pack) -> None:
    index = registry.index
    await send(pack_message(FeedKind.BEGIN))
    async for items in _pages(registry.listing(_EVERYTHING), pack):
        await send(pack_message(FeedKind.CHANGES, 0, items))
    meanwhile = asyncio.ensure_future(subscription.next())
    try:
        await asyncio.sleep(0)
        while meanwhile.done():
            events = meanwhile.result()
            meanwhile = asyncio.ensure_future(subscription.next())
            await _send_events(events, send, pack)
            index = events[-1].index
            await asyncio.sleep(0)
        await send(pack_message(FeedKind.END, index))
        await _send_events(await meanwhile, send, pack)
    finally:
        meanwhile.cancel()


async def _pages(listing: Iterable[list[Listed]], pack: Pack) -> AsyncIterator[list[bytes]]:
    items: list[bytes] = []
    for listed in listing:
        for one in listed:
            instance = one.instance
            items.append(key_of(instance.namespace, instance.service))
            items.append(pack(instance))
        if len(items) >= 2 * PAGE_RECORDS:
            yield items
            items = []
            await asyncio.sleep(0)  # calls to the API get their turn
    if items:
        yield items


async def _send_events(events: list[Event], send: Send, pack: Pack) -> None:
    for start in range(0, len(events), PAGE_RECORDS):
        end = start + PAGE_RECORDS
        page = events[start:end]
        items: list[bytes] = []
        for event in page:
            items.append(key_of(event.name.namespace, event.name.service))
            listed = event.listed
            items.append(pack(listed.instance) if listed else id_prefix(event.name.id))
        is_cut = end < len(events) and events[end].index == page[-1].index
        await send(pack_message(FeedKind.CHANGES, 0 if is_cut else page[-1].index, items))
