"""What every engine promises; see `callboard.registry.engine.seam`."""

import asyncio
import random

import pytest
from callboard.registry.engine import (
    ABSENT,
    NO_PAIR,
    Change,
    Compacted,
    Conflict,
    Delete,
    Done,
    Pair,
    Put,
    Refused,
    Superseded,
    read_snapshot,
)
from callboard.registry.engine.history import HISTORY_CHANGES_MAX

SOON_S = 20.0


async def content(engine):
    """What `load` yields, as a dictionary of pairs, and its revision."""
    revision, pages = await engine.load()
    pairs = [pair async for page in pages for pair in page]
    assert [pair.key for pair in pairs] == sorted({pair.key for pair in pairs})
    return revision, {pair.key: pair for pair in pairs}


async def changes_until(watch, revision):
    """Everything a watch says until it has said `revision`."""
    changes = []
    async with asyncio.timeout(SOON_S):
        while not changes or changes[-1].revision < revision:
            changes += await anext(watch)
    return changes


async def test_put_and_delete_under_conditions(engine):
    created, changed = await engine.commit([Put(b"a", b"1", ABSENT), Put(b"a", b"2")])
    assert isinstance(created, Done)
    assert created.create_revision == created.revision
    assert changed.revision > created.revision
    assert changed.create_revision == created.revision

    results = await engine.commit(
        [
            Put(b"a", b"3", ABSENT),
            Put(b"a", b"3", created.revision),
            Delete(b"a", created.revision),
            Put(b"b", b"1", changed.revision),
            Delete(b"b"),
            Put(b"a", b"3", changed.revision),
        ]
    )
    assert results[:5] == [
        Conflict(changed.revision),
        Conflict(changed.revision),
        Conflict(changed.revision),
        Conflict(ABSENT),
        Conflict(ABSENT),
    ]
    assert results[5].create_revision == created.revision
    (gone,) = await engine.commit([Delete(b"a", results[5].revision)])
    assert isinstance(gone, Done)
    assert (await content(engine))[1] == {}


async def test_operations_of_one_call_see_each_other_in_order(engine):
    results = await engine.commit(
        [Put(b"a", b"1", ABSENT), Delete(b"a"), Put(b"a", b"2", ABSENT), Put(b"a", b"3", ABSENT)]
    )
    assert [type(result) for result in results] == [Done, Done, Done, Conflict]
    assert results[3] == Conflict(results[2].revision)
    assert results[2].create_revision == results[2].revision
    _, pairs = await content(engine)
    assert pairs == {b"a": Pair(b"a", b"2", results[2].revision, results[2].revision)}


async def test_calls_are_applied_in_the_order_in_which_they_were_made(engine):
    calls = [engine.commit([Put(b"a", b"%d" % number)]) for number in range(50)]
    results = [result for (result,) in await asyncio.gather(*calls)]
    assert [result.revision for result in results] == sorted({one.revision for one in results})
    assert (await content(engine))[1][b"a"].value == b"49"


async def test_an_empty_call_and_one_of_conflicts_change_nothing(engine, request):
    (done,) = await engine.commit([Put(b"a", b"1")])
    watch = engine.watch(done.revision)
    assert await engine.commit([]) == []
    assert await engine.commit([Put(b"a", b"2", ABSENT), Delete(b"b")]) == [
        Conflict(done.revision),
        Conflict(ABSENT),
    ]
    if "exclusive" not in request.node.name:  # there etcd counts the transaction itself
        assert await engine.confirm() == done.revision
    (later,) = await engine.commit([Put(b"b", b"1")])
    told = [change.key for change in await changes_until(watch, later.revision)]
    assert [key for key in told if key != NO_PAIR] == [b"b"]


@pytest.mark.parametrize("size_bytes", [0, 1, 4_000, 512 * 1024])
async def test_values_of_any_size_and_all_bytes_come_back(engine, size_bytes):
    value = random.Random(1).randbytes(size_bytes)
    key = bytes(range(256))
    await engine.commit([Put(key, value)])
    assert (await content(engine))[1][key].value == value


async def test_a_watch_tells_every_change_once_in_order_and_whole(engine):
    watch = engine.watch(await engine.confirm())
    (put,) = await engine.commit([Put(b"a", b"1")])
    _, expired = await engine.commit([Put(b"b", b"2"), Delete(b"a", expired=True)])
    (removed,) = await engine.commit([Delete(b"b")])
    changes = await changes_until(watch, removed.revision)
    assert changes[0] == Change(b"a", b"1", put.revision, put.revision)
    assert {(change.key, change.value, change.expired) for change in changes[1:3]} == {
        (b"b", b"2", False),
        (b"a", None, True),
    }
    assert expired.create_revision == put.revision
    [gone] = [change for change in changes[1:3] if change.value is None]
    assert gone.create_revision in {put.revision, ABSENT}
    last = changes[3]
    assert (last.key, last.value, last.revision) == (b"b", None, removed.revision)
    assert len(changes) == 4


async def test_a_watch_begins_after_the_revision_asked_for(engine):
    start = await engine.confirm()
    revisions = [(await engine.commit([Put(b"a", b"%d" % n)]))[0].revision for n in range(6)]
    everything = await changes_until(engine.watch(start), revisions[-1])
    assert [change.revision for change in everything] == revisions
    later = await changes_until(engine.watch(revisions[3]), revisions[-1])
    assert later == everything[4:]


async def test_the_watcher_has_been_told_when_the_caller_has_its_answer(engine):
    told, start = [], await engine.confirm()

    async def consume():
        async for changes in engine.watch(start):
            told.extend(changes)

    consumer = asyncio.create_task(consume())
    for number in range(20):
        (done,) = await engine.commit([Put(b"a", b"%d" % number)])
        assert told[-1].revision == done.revision
    consumer.cancel()


async def test_two_watchers_see_the_same_and_neither_waits_for_the_other(engine):
    last = start = await engine.confirm()
    slow, quick = engine.watch(start), engine.watch(start)
    for number in range(30):
        (done,) = await engine.commit([Put(b"k%d" % (number % 3), b"%d" % number)])
        last = done.revision
        await changes_until(quick, last)
    again = await changes_until(engine.watch(start), last)
    assert await changes_until(slow, last) == again
    assert len(again) == 30


async def test_a_cancelled_watch_leaves_the_others_alone(engine):
    start = await engine.confirm()
    watch = engine.watch(start)
    waiting = asyncio.ensure_future(anext(watch))
    other = asyncio.ensure_future(anext(engine.watch(start)))
    await asyncio.sleep(0)
    waiting.cancel()
    (done,) = await engine.commit([Put(b"a", b"1")])
    assert (await other)[-1].revision == done.revision
    assert (await anext(watch))[-1].revision == done.revision


async def test_a_watcher_that_is_too_slow_is_told_to_load_again(engine):
    slow = engine.watch(await engine.confirm())
    for _ in range(3):
        call = [Put(b"k%d" % number, b"") for number in range(HISTORY_CHANGES_MAX // 2)]
        results = await engine.commit(call)
    with pytest.raises(Compacted):
        await anext(slow)
    last = results[-1].revision
    earlier = max(result.revision for result in results if result.revision < last)
    changes = await anext(engine.watch(earlier))
    assert {change.revision for change in changes} == {last}
    assert len(changes) == sum(result.revision == last for result in results)


async def test_a_batch_larger_than_the_history_still_reaches_whoever_waits(engine):
    waiting = asyncio.ensure_future(anext(engine.watch(await engine.confirm())))
    await asyncio.sleep(0)
    call = [Put(b"k%d" % number, b"") for number in range(HISTORY_CHANGES_MAX + 10)]
    _, (after,) = await asyncio.gather(engine.commit(call), engine.commit([Put(b"after", b"")]))
    changes = [*await waiting]
    if changes[-1].revision < after.revision:
        changes += await changes_until(engine.watch(changes[-1].revision), after.revision)
    assert [change.key for change in changes] == [*(put.key for put in call), b"after"]


async def test_load_and_watch_together_miss_nothing_while_others_write(engine):
    """A copy made from `load` and the changes since is what a later `load` yields."""
    stop = asyncio.Event()
    rng = random.Random(2)

    async def write():
        while not stop.is_set():
            key = b"k%d" % rng.randrange(40)
            await engine.commit([Delete(key) if rng.random() < 0.4 else Put(key, rng.randbytes(9))])

    writers = [asyncio.create_task(write()) for _ in range(8)]
    for _ in range(10):
        revision, pairs = await content(engine)
        copy = {key: pair.value for key, pair in pairs.items()}
        (mark,) = await engine.commit([Put(b"mark", rng.randbytes(4))])
        end, expected = await content(engine)
        assert end >= mark.revision
        for change in await changes_until(engine.watch(revision), end):
            if change.revision > end:
                break
            if change.key == NO_PAIR:
                continue
            if change.value is None:
                del copy[change.key]
            else:
                copy[change.key] = change.value
        assert copy == {key: pair.value for key, pair in expected.items()}
    stop.set()
    await asyncio.gather(*writers)


async def test_load_is_of_one_moment_however_slowly_it_is_read(engine):
    await engine.commit([Put(b"%05d" % number, b"old") for number in range(12_000)])
    revision, pages = await engine.load()
    first = await anext(pages)
    await engine.commit([Put(b"%05d" % number, b"new") for number in range(12_000)])
    rest = [pair async for page in pages for pair in page]
    assert {pair.value for pair in [*first, *rest]} == {b"old"}
    assert len(first) + len(rest) == 12_000
    assert max(pair.modify_revision for pair in [*first, *rest]) == revision


async def test_a_load_that_is_given_up_harms_nothing(engine):
    await engine.commit([Put(b"%05d" % number, b"") for number in range(12_000)])
    _, pages = await engine.load()
    await anext(pages)
    await pages.aclose()
    assert len((await content(engine))[1]) == 12_000


async def test_a_cancelled_caller_harms_nobody_else(engine):
    calls = [asyncio.ensure_future(engine.commit([Put(b"%d" % n, b"")])) for n in range(100)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert all(isinstance(result, list) for result in results[1::2])
    _, pairs = await content(engine)
    assert {b"%d" % number for number in range(1, 100, 2)} <= set(pairs)


async def test_only_the_newest_guard_commits(engine):
    first = await engine.campaign("one")
    assert await engine.commit([Put(b"a", b"1")], first)
    second = await engine.campaign("one")
    with pytest.raises(Superseded):
        await engine.commit([Put(b"a", b"2")], first)
    assert await engine.commit([Put(b"a", b"3")], second)
    await engine.resign()
    with pytest.raises(Superseded):
        await engine.commit([Put(b"a", b"4")], second)
    assert (await content(engine))[1][b"a"].value == b"3"


async def test_everything_is_there_after_a_restart(open_engine):
    engine = await open_engine()
    await engine.commit([Put(b"%d" % number, b"v%d" % number) for number in range(300)])
    await engine.commit([Delete(b"%d" % number) for number in range(100)])
    before = await content(engine)
    await engine.close()
    engine = await open_engine()
    assert await content(engine) == before
    assert await engine.confirm() == before[0]
    (done,) = await engine.commit([Put(b"0", b"again", ABSENT)])
    assert done.revision > before[0]


async def test_changes_from_before_a_restart_are_compacted(open_engine):
    engine = await open_engine()
    await engine.commit([Put(b"a", b"1"), Put(b"b", b"1")])
    await engine.close()
    engine = await open_engine()
    with pytest.raises(Compacted):
        await anext(engine.watch(0))


async def test_close_finishes_what_was_accepted_and_refuses_the_rest(open_engine):
    engine = await open_engine()
    watch = engine.watch(await engine.confirm())
    calls = [asyncio.ensure_future(engine.commit([Put(b"%d" % n, b"")])) for n in range(200)]
    await asyncio.sleep(0)
    await asyncio.gather(engine.close(), engine.close())
    await engine.close()
    assert len(await asyncio.gather(*calls)) == 200
    with pytest.raises(Refused):
        await engine.commit([Put(b"late", b"")])
    with pytest.raises(Refused):
        await engine.load()
    told = [change.key async for changes in watch for change in changes]
    assert set(told) == {b"%d" % number for number in range(200)}
    assert set((await content(await open_engine()))[1]) == set(told)


async def test_a_backup_is_a_consistent_copy_and_takes_no_existing_file(engine, tmp_path):
    stop = asyncio.Event()

    async def write():
        number = 0
        while not stop.is_set():
            number += 1
            await engine.commit([Put(b"left", b"%d" % number), Put(b"right", b"%d" % number)])

    await engine.commit([Put(b"left", b"0"), Put(b"right", b"0")])
    writer = asyncio.create_task(write())
    await engine.commit([Put(b"%d" % number, b"x" * 100) for number in range(7_000)])
    path = tmp_path / "board.snapshot"
    revision = await engine.backup(str(path))
    stop.set()
    await writer
    pairs = {pair.key: pair for page in read_snapshot(str(path)) for pair in page}
    assert pairs[b"left"].value == pairs[b"right"].value
    assert len(pairs) == 7_002
    assert max(pair.modify_revision for pair in pairs.values()) == revision
    with pytest.raises(Refused, match="exists already"):
        await engine.backup(str(path))
    with pytest.raises(Refused):
        await engine.backup(str(tmp_path / "no" / "such" / "folder"))


async def test_status_and_members_tell_what_is(engine):
    (done,) = await engine.commit([Put(b"a", b"1")])
    status = engine.status()
    assert (status.writable, status.reason, status.revision) == (True, "", done.revision)
    assert [member.healthy for member in await engine.members()] == [True]
