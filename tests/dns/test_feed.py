"""The feed: whatever happens to the registry, the worker's copy ends up the same."""

import asyncio

import msgpack
import pytest
from callboard.dns import feeder
from callboard.dns.feed import MESSAGE_BYTES_MAX, FeedKind, pack_message, unpacker
from callboard.dns.freshness import Freshness
from callboard.dns.projection import key_of, pack_record
from callboard.dns.replica import Replica
from callboard.dns.responder import Responder
from callboard.registry import watches
from callboard.registry.names import InstanceName
from hypothesis import given, settings
from hypothesis import strategies as st


def a_replica():
    responder = Responder([(b"test",)], ttl_s=5, server_addresses=[b"\x7f\0\0\1"])
    return responder, Replica(responder, unpacker(), Freshness(60, 0))


def contents(store, names):
    return {
        name: record
        for name in names
        if (record := store.one(key_of(name.namespace, name.service), name.id.encode()))
    }


NAMES = [
    InstanceName(namespace, service, f"i{n}")
    for namespace in ("default", "prod")
    for service in ("web", "db")
    for n in range(6)
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("put", "put", "drop", "run", "lag")),
        st.sampled_from(NAMES),
        st.integers(1, 9),
    ),
    max_size=60,
)


@given(STEPS, STEPS)
@settings(max_examples=100, deadline=None)
def test_the_copy_follows_the_registry(make_registry, make_instance, before, after):
    asyncio.run(follow(make_registry(), make_instance, before, after))


async def follow(registry, make_instance, before, after):
    responder, replica = a_replica()

    async def send(data):
        # In pieces, as a stream may bring them, and with the loop's turn taken each time.
        for at in range(0, len(data), 7):
            replica.feed(data[at : at + 7])
        await asyncio.sleep(0)

    await take(registry, make_instance, before)
    feeding = asyncio.create_task(feeder.feed(registry, send))
    await take(registry, make_instance, after)
    registry.put(make_instance(id="last"))
    await until(lambda: replica.synced and responder.index == registry.index)
    feeding.cancel()
    expected = {name: pack_record(one.instance) for name, one in registry.board.items()}
    names = [*NAMES, InstanceName("default", "web", "last")]
    assert contents(responder.store, names) == expected
    assert responder.store.instances == len(expected)


async def take(registry, make_instance, steps):
    for step, name, port in steps:
        if step == "put":
            fields = {"namespace": name.namespace, "service": name.service, "id": name.id}
            registry.put(make_instance(**fields, port=port))
        elif step == "drop":
            registry.drop(name)
        elif step == "run":
            await asyncio.sleep(0)
        else:
            for subscriptions in registry.watches._subscriptions.values():
                for subscription in subscriptions:
                    subscription.offer([None] * (watches.QUEUE_EVENTS_MAX + 1))


async def until(condition):
    """Let the other tasks run until it holds."""
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110  # the condition is the code under test
            await asyncio.sleep(0)


def test_an_old_copy_answers_until_the_new_one_is_whole(make_instance):
    responder, replica = a_replica()
    web, db = pack_record(make_instance()), pack_record(make_instance("db"))
    for message in (
        pack_message(FeedKind.BEGIN),
        pack_message(FeedKind.CHANGES, 0, (b"web", web)),
    ):
        replica.feed(message)
        assert not replica.synced
    replica.feed(pack_message(FeedKind.END, 5))
    assert (replica.synced, responder.index, responder.store.instances) == (True, 5, 1)
    replica.feed(pack_message(FeedKind.BEGIN))
    replica.feed(pack_message(FeedKind.CHANGES, 0, (b"db", db)))
    assert responder.store.has_service(b"web")
    replica.feed(pack_message(FeedKind.END, 6))
    assert (responder.store.has_service(b"web"), responder.store.has_service(b"db")) == (
        False,
        True,
    )


async def test_a_page_that_is_cut_within_an_index_says_so(registry, make_instance, monkeypatch):
    """One transaction is one index, however many instances it writes."""
    monkeypatch.setattr(feeder, "PAGE_RECORDS", 2)
    responder, replica = a_replica()
    sent = []

    async def send(data):
        replica.feed(data)
        sent.append(msgpack.unpackb(data))

    feeding = asyncio.create_task(feeder.feed(registry, send))
    await until(lambda: replica.synced)
    sent.clear()
    before = responder.index
    registry.put(*(make_instance(id=f"i{n}") for n in range(5)))
    await until(lambda: responder.store.instances == 5)
    assert [index for _, index, _ in sent] == [0, 0, before + 1]
    assert responder.index == before + 1
    feeding.cancel()


async def test_a_slow_worker_holds_up_nothing_and_gets_a_fresh_copy(
    registry, make_instance, monkeypatch
):
    monkeypatch.setattr(watches, "QUEUE_EVENTS_MAX", 10)
    responder, replica = a_replica()
    gate = asyncio.Event()
    gate.set()

    async def send(data):
        await gate.wait()
        replica.feed(data)

    feeding = asyncio.create_task(feeder.feed(registry, send))
    await until(lambda: replica.synced)
    gate.clear()
    registry.put(make_instance(id="first"))
    await asyncio.sleep(0)
    for n in range(100):
        registry.put(make_instance(id=f"i{n}"))
        await asyncio.sleep(0)
    assert responder.store.instances == 0
    gate.set()
    await until(lambda: responder.store.instances == 101)
    feeding.cancel()


def test_a_message_of_absurd_size_is_refused():
    stream = unpacker()
    with pytest.raises(msgpack.exceptions.BufferFull):
        stream.feed(bytes(MESSAGE_BYTES_MAX + 1))
