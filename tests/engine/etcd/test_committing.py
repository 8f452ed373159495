"""Gathering, guards, reasons and prefixes, on a real etcd that nobody harms."""

import asyncio
from time import monotonic as clock

import pytest
from callboard.registry.engine import (
    ABSENT,
    Conflict,
    Delete,
    Done,
    OutcomeUnknown,
    Put,
    Refused,
    Superseded,
)
from callboard.registry.engine.etcd import election

SOON_S = 20
pytestmark = pytest.mark.foreign("etcd", "etcdctl")


@pytest.fixture
def prefix(tmp_path):
    return f"{tmp_path}/"


async def test_calls_made_together_share_few_revisions(etcd, open_board, prefix):
    engine = await open_board(etcd, prefix=prefix)
    calls = [engine.commit([Put(b"%d" % number, b"v", ABSENT)]) for number in range(500)]
    results = [result for (result,) in await asyncio.gather(*calls)]
    assert all(isinstance(result, Done) for result in results)
    assert len({result.revision for result in results}) <= 6


async def test_one_caller_s_conflict_leaves_those_it_travels_with_alone(etcd, open_board, prefix):
    engine = await open_board(etcd, prefix=prefix)
    [first] = await engine.commit([Put(b"a", b"", ABSENT)])
    again, other = await asyncio.gather(
        engine.commit([Put(b"a", b"", ABSENT)]), engine.commit([Put(b"b", b"", ABSENT)])
    )
    assert again == [Conflict(first.revision)]
    assert isinstance(other[0], Done)


async def test_a_call_larger_than_a_transaction_is_applied_in_order(etcd, open_board, prefix):
    engine = await open_board(etcd, prefix=prefix)  # 128 operations: what any etcd takes
    call = [Put(b"%d" % number, b"", ABSENT) for number in range(1000)]
    results = await engine.commit(call)
    assert [type(result) for result in results] == [Done] * 1000
    revisions = [result.revision for result in results]
    assert revisions == sorted(revisions)
    assert len(set(revisions)) == 8


async def test_a_call_that_is_refused_in_its_midst_does_not_claim_that_nothing_was_done(
    etcd, open_board, prefix
):
    engine = await open_board(etcd, prefix=prefix)
    large = Put(b"large", bytes(2 * 1024 * 1024))
    with pytest.raises(Refused, match="max-request-bytes"):
        await engine.commit([large, Put(b"never", b"")])
    with pytest.raises(OutcomeUnknown, match="a part of the call"):
        await engine.commit([Put(b"a", b""), large, Put(b"never", b"")])
    [done] = await engine.commit([Put(b"b", b"")])
    told = await anext(engine.watch(0))
    assert [change.key for change in told] == [b"a", b"b"]
    assert engine.status().writable
    assert engine.status().revision == done.revision


async def test_both_boards_of_one_etcd_see_only_their_own(etcd, open_board, prefix):
    one = await open_board(etcd, prefix=f"{prefix}one/")
    other = await open_board(etcd, prefix=f"{prefix}other/")
    await one.commit([Put(b"a", b"1")])
    [done] = await other.commit([Put(b"a", b"2")])
    assert [change.value for change in await anext(other.watch(0))] == [b"2"]
    _, pages = await other.load()
    assert [pair.value for page in [page async for page in pages] for pair in page] == [b"2"]
    assert await other.confirm() == done.revision
    # What others write makes etcd's revision grow, and not the board's.
    [later] = await one.commit([Put(b"a", b"3")])
    assert await other.confirm() == done.revision
    assert await one.confirm() == later.revision


async def test_every_node_is_told_why_pairs_went(etcd, open_board, prefix):
    one, other = [await open_board(etcd, prefix=prefix, node=name) for name in ("one", "other")]
    await one.commit([Put(key, b"") for key in (b"a", b"b", b"c", b"d")])
    await one.commit([Delete(b"a", expired=True)])
    gone = await one.commit([Delete(b"b", expired=True), Delete(b"c", expired=True), Delete(b"d")])
    assert gone[1].revision < gone[2].revision
    for engine in (one, other):
        told = {}
        async for changes in engine.watch(0):
            told.update({one.key: one.expired for one in changes if one.value is None})
            if len(told) == 4:
                break
        assert told == {b"a": True, b"b": True, b"c": True, b"d": False}


async def test_a_guard_is_compared_inside_the_transaction(etcd, open_board, prefix, until):
    one = await open_board(etcd, prefix=prefix, node="one")
    other = await open_board(etcd, prefix=prefix, node="other")
    old = await one.campaign("one", "10.0.0.1:1")
    await until(lambda: other.keeper() is not None)
    assert other.keeper() == one.keeper() == ("one", "10.0.0.1:1")
    winning = asyncio.create_task(other.campaign("other"))
    held = asyncio.create_task(one.hold(old))
    await one.resign()
    new = await asyncio.wait_for(winning, 2)
    await asyncio.wait_for(held, 2)
    with pytest.raises(Superseded):
        await one.commit([Put(b"a", b"")], old)
    with pytest.raises(Superseded):  # as if it had not heard of its loss yet
        await one._committer.commit([Put(b"a", b""), Put(b"b", b"")], old)
    assert await other.commit([Put(b"c", b"")], new)
    assert (await one.commit([Put(b"a", b"", ABSENT), Put(b"b", b"", ABSENT)]))[1].revision
    with pytest.raises(Superseded):
        await other.commit([Put(b"d", b"")], old)


async def test_who_resigned_lets_the_others_go_first_and_then_comes_back(etcd, open_board, prefix):
    engine = await open_board(etcd, prefix=prefix)
    first = await engine.campaign("one")
    await engine.resign()
    assert engine.keeper() is None
    began = asyncio.get_running_loop().time()
    second = await engine.campaign("one")
    assert asyncio.get_running_loop().time() - began > 1.5
    assert second.revision > first.revision


async def test_whoever_was_stopped_for_a_while_does_not_trust_its_election(
    etcd, open_board, prefix, monkeypatch
):
    """At once, before anything has been heard: in the turn of the loop in which it wakes."""
    engine = await open_board(etcd, prefix=prefix)
    assert not engine.holds()
    guard = await engine.campaign("one")
    assert engine.holds()
    asleep_s = election.LEASE_TTL_S + 0.1
    with monkeypatch.context() as patched:
        patched.setattr(election.time, "monotonic", lambda: clock() + asleep_s)
        assert not engine.holds()
    assert engine.holds()
    await engine.resign()
    assert not engine.holds()
    await asyncio.wait_for(engine.hold(guard), SOON_S)


async def test_a_lease_that_was_lost_to_silence_is_given_back(
    etcd, open_board, prefix, monkeypatch
):
    """By itself it would live on in etcd, and nobody could be elected."""
    monkeypatch.setattr(election, "LEASE_TTL_S", 600)
    one = await open_board(etcd, prefix=prefix, node="one")
    other = await open_board(etcd, prefix=prefix, node="other")
    old = await one.campaign("one")
    monkeypatch.setattr(election, "LEASE_TTL_S", 0)  # as if nobody had answered for so long
    await asyncio.wait_for(one.hold(old), SOON_S)
    monkeypatch.setattr(election, "LEASE_TTL_S", 600)
    campaigns = [
        asyncio.create_task(each.campaign(name)) for each, name in ((one, "one"), (other, "other"))
    ]
    done, _ = await asyncio.wait(campaigns, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
    [new] = [each.result() for each in done]
    assert new.revision > old.revision
    for campaign in campaigns:
        campaign.cancel()
    await asyncio.gather(*campaigns, return_exceptions=True)


async def test_closing_gives_the_election_to_another_at_once(etcd, open_board, prefix):
    one = await open_board(etcd, prefix=prefix, node="one")
    other = await open_board(etcd, prefix=prefix, node="other")
    await one.campaign("one")
    winning = asyncio.create_task(other.campaign("other"))
    await one.close()
    assert await asyncio.wait_for(winning, 2)
    tasks = {task.get_name() for task in asyncio.all_tasks()}
    await other.close()
    left = {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("etcd-")}
    assert "etcd-watch" in tasks
    assert left == set()


async def test_a_keeper_whose_lease_was_taken_knows_it(etcd, open_board, prefix):
    engine = await open_board(etcd, prefix=prefix)
    guard = await engine.campaign("one")
    etcd.ctl("del", f"{prefix}keeper")
    await asyncio.wait_for(engine.hold(guard), 2)
    with pytest.raises(Superseded):
        await engine.commit([Put(b"a", b"")], guard)


async def test_strong_reads_that_come_together_share_their_questions(etcd, open_board, prefix):
    engine = await open_board(etcd, prefix=prefix)
    [done] = await engine.commit([Put(b"a", b"")])
    asked = 0
    read = engine._confirmer._confirm

    async def counted():
        nonlocal asked
        asked += 1
        return await read()

    engine._confirmer._confirm = counted
    assert set(await asyncio.gather(*(engine.confirm() for _ in range(100)))) == {done.revision}
    assert asked <= 3
    assert 0 <= engine.staleness_ms() < 1000


@pytest.mark.parametrize(
    ("part", "method"), [("_feed", "_take"), ("_confirmer", "confirm"), ("_cluster", "_look")]
)
async def test_a_defect_of_a_task_reaches_the_watchers(
    etcd, open_board, prefix, monkeypatch, part, method
):
    """Without it the board would grow stale and look alive."""
    engine = await open_board(etcd, prefix=prefix)
    watch = engine.watch(await engine.confirm())

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(getattr(engine, part), method, broken)
    writing = asyncio.ensure_future(engine.commit([Put(b"a", b"")]))
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(_all_of(watch), 10)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def _all_of(watch):
    async for _ in watch:
        pass
