"""Many writers share one sync, and none of them is told before it."""

import asyncio

import pytest
from callboard.registry.engine import Put, Refused, link


def syncs(log):
    return log.read_text().split().count("sync")


async def test_hundreds_of_concurrent_commits_take_few_syncs(preload, open_sqlite):
    log = preload()
    engine = await open_sqlite()
    before = syncs(log)
    await asyncio.gather(*(engine.commit([Put(b"%d" % number, b"")]) for number in range(500)))
    # 500 operations fit into one transaction; its log header, the first checkpoint and a group
    # that was cut short by the reading of the socket add a few.
    assert 1 <= syncs(log) - before <= 10


async def test_every_commit_that_waits_for_the_one_before_takes_its_own_sync(preload, open_sqlite):
    """The control: the counter counts, and an answer means a sync."""
    log = preload()
    engine = await open_sqlite()
    for number in range(50):
        before = syncs(log)
        await engine.commit([Put(b"%d" % number, b"")])
        assert syncs(log) > before


async def test_a_group_that_only_conflicts_syncs_nothing(preload, open_sqlite):
    log = preload()
    engine = await open_sqlite()
    for _ in range(2):  # the first is followed by the checkpoint of the start
        await engine.commit([Put(b"a", b"1")])
    before = syncs(log)
    await asyncio.gather(*(engine.commit([Put(b"a", b"2", 0)]) for _ in range(100)))
    assert syncs(log) == before


@pytest.mark.parametrize("bound", ["WAITING_OPERATIONS_MAX", "WAITING_BYTES_MAX"])
async def test_more_waiting_writes_than_are_good_are_refused_at_once(
    bound, monkeypatch, open_sqlite
):
    engine = await open_sqlite()
    monkeypatch.setattr(link, bound, 10)
    waiting = [engine.commit([Put(b"%d" % number, b"1")]) for number in range(10)]
    with pytest.raises(Refused, match="too many writes are waiting"):
        await engine.commit([Put(b"more", b"")])
    await asyncio.gather(*waiting)
    await engine.commit([Put(b"more", b"")])


async def test_a_call_that_is_too_large_for_one_message_is_refused(monkeypatch, open_sqlite):
    engine = await open_sqlite()
    monkeypatch.setattr(link, "CALL_BYTES_MAX", 100)
    with pytest.raises(Refused, match="at most 100 bytes"):
        await engine.commit([Put(b"a", bytes(60)), Put(b"b", bytes(60))])
    await engine.commit([Put(b"a", bytes(100))])
