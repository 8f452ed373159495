"""Changes that the engine no longer keeps: the board is loaded again while it is watched."""

import asyncio
import tempfile

import pytest
from callboard.registry import Instance, InstanceName, Lagged, Registry, ServicesTopic, ServiceTopic
from callboard.registry.engine import Compacted, Delete, Put, SqliteEngine
from callboard.registry.instance import encode_instance
from callboard.registry.kv import StoredKv, encode_kv
from callboard.registry.names import instance_key, kv_key
from callboard.registry.views import KvTopic
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
        self._lost = True

    def see(self):
        self._sees.set()

    async def watch(self, from_revision):
        async for changes in self._engine.watch(from_revision):
            await self._sees.wait()
            if self._lost:
                self._lost = False
                self.compactions += 1
                raise Compacted("forgotten")
            yield changes


class Watched:
    """A registry over a forgetful engine, and what one reader makes of its events."""

    def __init__(self, data_dir):
        self._data_dir = data_dir
        self.copy = {}
        self.events = []

    async def __aenter__(self):
        self._sqlite = await SqliteEngine.open(self._data_dir)
        self.engine = Forgetful(self._sqlite)
        self.registry = Registry(self.engine, node="one", clock=lambda: 100.0)
        await self.registry.start()
        self._subscription = self.registry.subscribe(EVERYTHING)
        return self

    async def __aexit__(self, *_):
        await self.registry.close()
        await self._sqlite.close()

    async def settle(self):
        """Wait until everything committed is shown, and follow the events to there."""
        async with asyncio.timeout(SETTLE_S_MAX):
            await self.registry.confirm()
        try:
            while True:
                async with asyncio.timeout(0):
                    events = await self._subscription.next()
                for event in events:
                    self._follow(event)
        except TimeoutError:
            assert self.copy == self.listing()

    def _follow(self, event):
        assert not self.events or event.index >= self.events[-1].index, "out of order"
        assert event.last == self.copy.get(event.name), "a gap"
        assert event.listed != event.last, "a repeat"
        self.events.append(event)
        if event.listed is None:
            del self.copy[event.name]
        else:
            self.copy[event.name] = event.listed

    def listing(self):
        pages = self.registry.listing(EVERYTHING)
        return {named(listed.instance): listed for page in pages for listed in page}


def named(instance):
    return InstanceName(instance.namespace, instance.service, instance.id)


def put(service, instance_id, port=1):
    instance = Instance(
        namespace="default", service=service, id=instance_id, address="::1", port=port
    )
    return Put(instance_key(named(instance)), encode_instance(instance))


def delete(service, instance_id):
    return Delete(instance_key(InstanceName("default", service, instance_id)))


def put_kv(key, value=b""):
    return Put(kv_key(key), encode_kv(StoredKv(0, 0, value)))


@pytest.fixture
async def watched(tmp_path):
    async with Watched(tmp_path / "data") as made:
        yield made


async def test_what_changed_meanwhile_comes_as_events(watched):
    await watched.engine.commit([put("web", "a"), put("web", "b"), put("db", "c")])
    await watched.settle()
    watched.engine.blind()
    await watched.engine.commit([put("web", "a", port=2), delete("web", "b"), put("new", "d")])
    watched.events.clear()
    watched.engine.see()
    await watched.settle()
    assert watched.engine.compactions == 1
    assert sorted((event.name.id, event.listed is None) for event in watched.events) == [
        ("a", False),
        ("b", True),
        ("d", False),
    ]
    assert watched.registry.index == watched.engine.status().revision


async def test_a_writer_is_answered_when_nothing_is_left_of_what_was_lost(watched):
    """Put and deleted meanwhile: no change to show, and yet the revision is shown."""
    watched.engine.blind()
    write = asyncio.create_task(watched.registry.kv_put("a", b"1"))
    await asyncio.sleep(0)  # so that it is the first of the two
    await watched.engine.commit([Delete(kv_key("a"))])
    watched.engine.see()
    async with asyncio.timeout(SETTLE_S_MAX):
        assert await write
    assert watched.registry.kv_get("a") is None
    assert watched.registry.index == 2


async def test_a_service_whose_instances_were_all_replaced_is_never_seen_empty(watched):
    await watched.engine.commit([put("web", f"old-{number}") for number in range(5)])
    await watched.settle()
    watched.engine.blind()
    await watched.engine.commit(
        [delete("web", f"old-{number}") for number in range(5)]
        + [put("web", f"new-{number}") for number in range(5)]
    )
    present = set(watched.copy)
    watched.events.clear()
    watched.engine.see()
    await watched.settle()
    assert len(watched.events) == 10
    for event in watched.events:
        present.add(event.name) if event.listed else present.remove(event.name)
        assert present


async def test_leases_of_what_did_not_change_go_on_and_the_others_start(watched):
    await watched.engine.commit([put("web", "a"), put("web", "b")])
    await watched.settle()
    leases = watched.registry._board.leases
    leases.set_deadline(instance_key(InstanceName("default", "web", "a")), 30.0, 107.0, 100.0)
    watched.engine.blind()
    await watched.engine.commit([put("web", "c"), delete("web", "b")])
    watched.copy = {}
    watched.engine.see()
    async with asyncio.timeout(SETTLE_S_MAX):
        await watched.registry.confirm()
    left_s = {name.id: listed.expires_in_s for name, listed in watched.listing().items()}
    assert left_s == {"a": 7.0, "c": 30.0}
    assert watched.registry.lease_count == 2


async def test_blocking_reads_of_what_changed_meanwhile_wake_and_others_wait_on(watched):
    await watched.engine.commit([put("web", "a"), put("db", "b"), put_kv("x"), put_kv("y")])
    await watched.settle()
    index = watched.registry.index
    topics = [
        ServiceTopic("default", "web"),
        ServiceTopic("default", "db"),
        KvTopic("x", recurse=False),
        KvTopic("y", recurse=True),
    ]
    reads = [
        asyncio.create_task(watched.registry.wait_past(topic, index, SETTLE_S_MAX))
        for topic in topics
    ]
    watched.engine.blind()
    await watched.engine.commit([delete("web", "a"), put_kv("x", b"1")])
    watched.engine.see()
    await watched.settle()
    assert await reads[0]
    assert await reads[2]
    assert not reads[1].done()
    assert not reads[3].done()
    watched.registry.drain()
    assert await asyncio.gather(*reads) == [True, False, True, False]


async def test_a_resume_across_the_gap_sees_the_same_events(watched):
    await watched.engine.commit([put("web", "a"), put("web", "b"), put("web", "c")])
    await watched.settle()
    watched.engine.blind()
    await watched.engine.commit([delete("web", "a"), put("web", "b", port=2), put("web", "d")])
    watched.engine.see()
    await watched.settle()
    for since in {0, *(event.index for event in watched.events)}:
        with watched.registry.subscribe(EVERYTHING, since) as again:
            later = [event for event in watched.events if event.index > since]
            assert (await again.next() if later else []) == later
    with pytest.raises(Lagged):
        watched.registry.subscribe(EVERYTHING, -1)


SERVICES = st.sampled_from(["web", "db"])
IDS = st.sampled_from("abc")
OPERATIONS = st.lists(
    st.one_of(
        st.builds(put, SERVICES, IDS, st.integers(1, 3)),
        st.builds(delete, SERVICES, IDS),
        st.builds(put_kv, IDS, st.binary(max_size=1)),
        st.builds(lambda key: Delete(kv_key(key)), IDS),
    ),
    max_size=12,
)


@settings(max_examples=12, deadline=None)
@given(before=OPERATIONS, lost=OPERATIONS, after=OPERATIONS)
def test_whatever_is_lost_the_board_and_its_readers_come_to_the_same(before, lost, after):
    """Beside a node that lost nothing: same listing, KV and indices, and events without a gap."""

    async def run(data_dir):
        async with Watched(data_dir) as watched:
            await watched.engine.commit(before)
            await watched.settle()
            services = {name.service for name in watched.copy}
            watched.engine.blind()
            await watched.engine.commit(lost)
            watched.events.clear()
            present = dict.fromkeys(watched.copy)
            watched.engine.see()
            await watched.settle()
            services &= {name.service for name in watched.copy}
            for event in watched.events:
                present.pop(event.name, None)
                present |= {event.name: None} if event.listed else {}
                assert services <= {name.service for name in present}
            await watched.engine.commit(after)
            await watched.settle()
            await beside_a_node_that_lost_nothing(watched)

    with tempfile.TemporaryDirectory() as data_dir:
        asyncio.run(run(data_dir))


async def beside_a_node_that_lost_nothing(watched):
    other = Registry(watched.engine, node="two", clock=lambda: 100.0)
    await other.start()
    try:
        assert watched.registry.index == other.index
        assert watched.listing() == {
            named(listed.instance): listed for page in other.listing(EVERYTHING) for listed in page
        }
        assert watched.registry.kv_list("") == other.kv_list("")
        assert sorted(watched.registry.services("default")) == sorted(other.services("default"))
        assert watched.registry.lease_count == other.lease_count
        for listed in watched.copy.values():
            topic = ServiceTopic("default", listed.instance.service)
            assert watched.registry.modify_index(topic) >= listed.modify_index
    finally:
        await other.close()
