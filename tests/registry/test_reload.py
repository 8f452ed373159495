"""Changes that the engine no longer keeps: the board is loaded again while it is watched."""

import asyncio
import tempfile
from collections.abc import Sequence

import pytest
from callboard.registry import Instance, InstanceName, Lagged, Registry, ServicesTopic
from callboard.registry.engine import Change, Compacted, Delete, Put, SqliteEngine
from callboard.registry.instance import encode_instance
from callboard.registry.kv import StoredKv, encode_kv
from callboard.registry.names import instance_key, kv_key
from callboard.registry.views import KvTopic, ServiceTopic
from hypothesis import given, settings
from hypothesis import strategies as st

EVERYTHING = ServicesTopic(None)
SETTLE_S_MAX = 10.0


class Forgetful:
    """An engine whose watch stands still while `blind`, and then has lost those changes."""

    def __init__(self, engine):
        self._engine = engine
        self._sees = asyncio.Event()
        self._sees.set()
        self._lost = False
        self.compactions = 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def blind(self):
        self._sees.clear()

    def see(self):
        """The changes since `blind` are gone, if there were any."""
        self._lost = True
        self._sees.set()

    async def watch(self, from_revision) -> Sequence[Change]:
        async for changes in self._engine.watch(from_revision):
            await self._sees.wait()
            if self._lost:
                self._lost = False
                self.compactions += 1
                raise Compacted("forgotten")
            yield changes


class Watched:
    """A registry over a forgetful engine, and what one reader has made of its events."""

    def __init__(self, data_dir):
        self._data_dir = data_dir

    async def __aenter__(self):
        self._inner = await SqliteEngine.open(self._data_dir)
        self.engine = Forgetful(self._inner)
        self.registry = Registry(self.engine, node="one", clock=lambda: 100.0)
        await self.registry.start()
        self._subscription = self.registry.subscribe(EVERYTHING)
        self.copy = {}
        self.events = []
        return self

    async def __aexit__(self, *_):
        await self.registry.close()
        await self._inner.close()

    async def settle(self):
        """Until everything committed is shown; then read the events."""
        async with asyncio.timeout(SETTLE_S_MAX):
            await self.registry.confirm()
        mark = Instance(service="mark", namespace="marks", id="mark", address="", port=len(self.events))
        await self.registry.register(mark)
        shown = {name: listed for name, listed in self.listing().items() if name.service != "mark"}
        while (mark_name := InstanceName("marks", "mark", "mark")) not in self.copy or (
            self.copy[mark_name].instance != mark
        ):
            for event in await self._subscription.next():
                self._follow(event)
        del self.copy[mark_name]
        self.events = [event for event in self.events if event.name != mark_name]
        self.marked = mark
        assert self.copy == shown
        await self.registry.deregister(mark_name)
        for event in await self._subscription.next():
            assert event.name == mark_name

    def _follow(self, event):
        assert not self.events or event.index >= self.events[-1].index
        assert event.last == self.copy.get(event.name)
        assert event.listed is not None or event.last is not None
        assert event.listed != event.last
        self.events.append(event)
        if event.listed is None:
            del self.copy[event.name]
        else:
            self.copy[event.name] = event.listed

    def listing(self):
        return {
            InstanceName("default" if shown.instance.namespace == "default" else "marks",
                         shown.instance.service, shown.instance.id): shown._replace(
                expires_in_s=shown.instance.ttl or None
            )
            for page in self.registry.listing(EVERYTHING)
            for shown in page
        }
