"""Many callers at once on the real engine: answers are shown, and nobody undoes another."""

import asyncio
import itertools
import random

import msgspec
import pytest
from callboard.registry import (
    Heartbeat,
    Instance,
    InstanceName,
    KvTopic,
    Registry,
    ServicesTopic,
    ServiceTopic,
    Status,
)
from callboard.registry.engine import SqliteEngine

NAME = InstanceName("default", "web", "a")
ALL = ServicesTopic(None)
LONG_S = 60.0
SETTLE_S_MAX = 20.0


def web(instance_id="a", **fields):
    return Instance(
        service="web", namespace="default", id=instance_id, address="::1", ttl=0, **fields
    )


@pytest.fixture
async def registry(tmp_path):
    engine = await SqliteEngine.open(tmp_path / "data", node="a")
    made = Registry(engine, node="a")
    await made.start()
    yield made
    await made.close()
    await engine.close()


async def test_a_status_never_brings_back_what_a_registration_replaced(registry):
    """Registrations and statuses of one instance race; each event builds on the one before."""
    await registry.register(web())
    order = random.Random(7)
    with registry.subscribe(ALL, 0) as subscription:
        for turn in range(30):
            calls = [registry.register(web(port=10 * turn + n)) for n in range(1, 5)]
            for n in range(4):
                beat = Heartbeat(NAME, order.choice(list(Status)), f"beat {turn}.{n}")
                calls.append(registry.heartbeat(beat))
            order.shuffle(calls)
            async with asyncio.timeout(SETTLE_S_MAX):
                assert None not in await asyncio.gather(*calls)
        events = await subscription.next()
    assert len(events) == 1 + 30 * 8
    assert {e.listed.instance.output for e in events if e.listed.instance.output} == {
        f"beat {turn}.{n}" for turn in range(30) for n in range(4)
    }
    for before, event in itertools.pairwise(events):
        assert event.last == before.listed
        assert event.index > before.index
        is_now, was = event.listed.instance, event.last.instance
        if is_now.output:
            beat = {"status": is_now.status, "output": is_now.output}
            assert is_now == msgspec.structs.replace(was, **beat)


async def test_every_answer_is_shown_when_it_is_given(registry):
    async def write(number):
        registered = await registry.register(web(f"i{number}", port=1 + number))
        name = InstanceName("default", "web", f"i{number}")
        assert registry.instance(name) == registered.listed
        assert registry.index >= registered.listed.modify_index
        assert await registry.kv_put(f"k{number}", b"v")
        assert registry.kv_get(f"k{number}").value == b"v"
        assert await registry.deregister(name)
        assert registry.instance(name) is None

    async with asyncio.timeout(SETTLE_S_MAX):
        await asyncio.gather(*map(write, range(200)))
    assert registry.instance_count == 0
    assert registry.kv_count == 200


async def test_of_many_that_compare_and_set_one_wins_each_round(registry):
    for current in range(5):
        pair = registry.kv_get("lock")
        puts = [
            registry.kv_put("lock", b"%d" % n, cas=pair.modify_index if pair else 0)
            for n in range(20)
        ]
        assert sorted(await asyncio.gather(*puts)) == [False] * 19 + [True]
        assert registry.index == current + 1


@pytest.mark.parametrize(
    ("topic", "write"),
    [
        (ALL, lambda registry: registry.register(web())),
        (ServicesTopic("default"), lambda registry: registry.register(web())),
        (ServiceTopic("default", "web"), lambda registry: registry.register(web())),
        (KvTopic("a/b", recurse=False), lambda registry: registry.kv_put("a/b", b"")),
        (KvTopic("a/", recurse=True), lambda registry: registry.kv_put("a/b", b"")),
        (KvTopic("", recurse=True), lambda registry: registry.kv_put("a/b", b"")),
    ],
    ids=str,
)
async def test_a_blocking_read_answers_at_the_change_and_is_never_late(registry, topic, write):
    """Asked before it, it wakes; asked with the older index after it, it does not wait."""
    index = registry.index
    waiting = asyncio.create_task(registry.wait_past(topic, index, LONG_S))
    await asyncio.sleep(0)
    assert not waiting.done()
    await write(registry)
    async with asyncio.timeout(SETTLE_S_MAX):
        assert await waiting
        assert await registry.wait_past(topic, index, LONG_S)
    assert registry.modify_index(topic) == registry.index
    assert not await registry.wait_past(topic, registry.index, 0.001)
