"""Clusters of several etcds: a dead leader, and members that come and go."""

import asyncio

import pytest
from callboard.registry.engine import Done, OutcomeUnknown, Put, Refused, StandsAlone

pytestmark = pytest.mark.foreign("etcd", "etcdctl")


async def leader_of(engine):
    [leader] = [member.name for member in await engine.members() if member.leader]
    return leader


async def test_writes_go_on_when_the_leader_is_killed(start_etcd, open_board, until):
    members = start_etcd(members=3)
    engines = [await open_board(member, *members) for member in members]
    watch = engines[0].watch(0)
    leader = await leader_of(engines[0])
    acknowledged = []

    async def write(engine, name):
        for number in range(1000):
            try:
                [done] = await engine.commit([Put(b"%s-%d" % (name, number), b"")])
            except (Refused, OutcomeUnknown):
                continue
            assert isinstance(done, Done)
            acknowledged.append((done.revision, b"%s-%d" % (name, number)))
            if stop.is_set():
                return

    stop = asyncio.Event()
    writers = [
        asyncio.create_task(write(engine, b"%d" % number)) for number, engine in enumerate(engines)
    ]
    await until(lambda: len(acknowledged) > 30)
    for engine in engines * 10:
        await engine.confirm()
    [dead] = [member for member in members if member.name == leader]
    dead.stop()
    before = len(acknowledged)
    await until(lambda: len(acknowledged) > before + 100)
    stop.set()
    await asyncio.gather(*writers)

    last = max(acknowledged)[0]
    told = []
    async with asyncio.timeout(10):
        while not told or told[-1].revision < last:
            told += await anext(watch)
    revisions = [change.revision for change in told]
    assert revisions == sorted(revisions)
    assert len({change.key for change in told}) == len(told)
    assert {key for _, key in acknowledged} <= {change.key for change in told}
    for engine in engines:
        assert await engine.confirm() >= last
        health = {member.name: member.healthy for member in await engine.members()}
        assert health == {member.name: member is not dead for member in members}


async def test_an_etcd_that_falls_silent_is_left_for_another(
    start_etcd, open_board, stopped, until
):
    members = start_etcd(members=3)
    engine = await open_board(*members)
    writer = await open_board(members[2])
    watch = engine.watch(0)
    stopped(members[0])
    await until(lambda: engine._connection.endpoint.url != members[0].url)
    [done] = await writer.commit([Put(b"a", b"")])
    assert (await asyncio.wait_for(anext(watch), 10))[-1].revision == done.revision
    await engine.commit([Put(b"b", b"")])


async def test_a_member_joins_as_a_learner_and_is_promoted(
    start_etcd, open_board, etcd_member, tmp_path, until
):
    member = start_etcd()
    engine = await open_board(member, owned=True)
    await engine.commit([Put(b"%d" % number, bytes(1000)) for number in range(100)])
    with pytest.raises(StandsAlone):
        await engine.transfer_leadership()
    with pytest.raises(StandsAlone):
        await engine.remove_member("m0")
    with pytest.raises(Refused, match="there already"):
        await engine.add_member("m0", "127.0.0.1:1")

    new = etcd_member(tmp_path / "etcd", "m1", "--initial-cluster-state", "existing")
    try:
        await engine.add_member("m1", new.peer_url.partition("://")[2])
        with pytest.raises(Refused, match="on its way in"):
            await engine.add_member("m2", "127.0.0.1:1")
        new.initial = f"{member.initial},{new.initial}"
        new.start()
        await asyncio.to_thread(new.wait_ready)  # a learner answers no reads
        assert [one.healthy for one in await engine.members()] == [True, True]
        guest = await open_board(member, new)
        assert await guest.transfer_leadership() == "m0"
        assert await leader_of(guest) == "m0", "nobody moves the lead of somebody else's etcd"
        both = await open_board(member, new, owned=True)
        assert await both.transfer_leadership() == "m1"
        assert await leader_of(both) == "m1"
        await until(lambda: engine.status().leader == "m1")
        assert await engine.transfer_leadership() == "m1"  # at none of its endpoints
        assert await both.transfer_leadership() == "m0"
        await engine.remove_member("m1")
        assert [one.name for one in await engine.members()] == ["m0"]
        assert isinstance((await engine.commit([Put(b"after", b"")]))[0], Done)
        with pytest.raises(Refused, match="no member"):
            await engine.remove_member("m1")
    finally:
        new.stop()
