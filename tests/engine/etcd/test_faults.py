"""An etcd that is killed, stopped, compacted, full, locked or without a leader."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from callboard.registry.engine import (
    CannotStart,
    Compacted,
    Done,
    OutcomeUnknown,
    Put,
    Refused,
)
from callboard.registry.engine.etcd import committer, loading
from callboard.registry.engine.etcd.election import LEASE_TTL_S

pytestmark = pytest.mark.foreign("etcd", "etcdctl")

KEEPER_CHILD = Path(__file__).with_name("keeper_child.py")


async def changes_until(watch, revision):
    changes = []
    async with asyncio.timeout(20):
        while not changes or changes[-1].revision < revision:
            changes += await anext(watch)
    return changes


async def contents(engine):
    _, pages = await engine.load()
    return {pair.key: pair.value async for page in pages for pair in page}


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(committer, "WRITE_S_MAX", 1.0)


async def test_a_killed_etcd_that_comes_back_is_gone_on_with(
    start_etcd, open_board, until, impatient
):
    member = start_etcd()
    engine = await open_board(member)
    assert [one.healthy for one in await engine.members()] == [True]
    watch = engine.watch(0)
    [first] = await engine.commit([Put(b"a", b"1")])
    member.stop()
    await until(lambda: not engine.status().writable)
    assert "cannot be reached" in engine.status().reason
    with pytest.raises(Refused):
        await engine.confirm()
    with pytest.raises(Refused):
        await engine.commit([Put(b"never", b"")])
    assert [one.healthy for one in await engine.members()] == [False]
    assert engine.staleness_ms() > 0
    member.start().wait_ready()
    await until(lambda: engine.status().writable)
    [second] = await engine.commit([Put(b"a", b"2")])
    changes = await changes_until(watch, second.revision)
    assert [(one.value, one.revision) for one in changes] == [
        (b"1", first.revision),
        (b"2", second.revision),
    ]
    assert await contents(engine) == {b"a": b"2"}


async def test_a_write_waits_for_an_etcd_that_is_away_for_a_moment(start_etcd, open_board):
    member = start_etcd()
    engine = await open_board(member)
    member.stop()
    writing = asyncio.ensure_future(engine.commit([Put(b"a", b"")]))
    await asyncio.sleep(0)
    member.start()
    assert isinstance((await writing)[0], Done)


async def test_a_write_that_etcd_swallows_has_an_unknown_outcome(
    start_etcd, open_board, stopped, until, impatient
):
    member = start_etcd()
    engine = await open_board(member)
    guard = await engine.campaign("one")
    held = asyncio.create_task(engine.hold(guard))
    resume = stopped(member)
    with pytest.raises(OutcomeUnknown):
        await engine.commit([Put(b"a", b"")])
    await asyncio.wait_for(held, LEASE_TTL_S + 2)  # nobody can say that it still holds
    await until(lambda: not engine.status().writable)
    resume()
    await until(lambda: engine.status().writable)
    results = await engine.commit([Put(b"b", b"")])
    assert isinstance(results[0], Done)
    assert set(await contents(engine)) in ({b"b"}, {b"a", b"b"})


async def test_a_watch_that_missed_compacted_changes_says_so(start_etcd, open_board):
    member = start_etcd()
    engine, writer = await open_board(member), await open_board(member)
    watch = engine.watch(0)
    [done] = await engine.commit([Put(b"a", b"1")])
    await changes_until(watch, done.revision)
    engine._tasks[0].cancel()  # the watch stands still, as if this process had been stopped
    for number in range(5):
        [done] = await writer.commit([Put(b"a", b"%d" % number)])
    member.ctl("compact", str(done.revision))
    engine._tasks.append(asyncio.create_task(engine._feed.run()))
    with pytest.raises(Compacted):
        await asyncio.wait_for(anext(watch), 10)
    revision, pages = await engine.load()
    assert [pair.value async for page in pages for pair in page] == [b"4"]
    again = engine.watch(revision)
    [later] = await writer.commit([Put(b"a", b"5")])
    assert [one.value for one in await changes_until(again, later.revision)] == [b"5"]


async def test_a_compaction_of_what_others_wrote_disturbs_nobody(start_etcd, open_board, until):
    member = start_etcd()
    engine = await open_board(member)
    watch = engine.watch(0)
    await engine.commit([Put(b"a", b"1")])
    engine._tasks[0].cancel()
    for number in range(20):
        await asyncio.to_thread(member.ctl, "put", "elsewhere", str(number))
    await asyncio.to_thread(member.ctl, "compact", "15")
    engine._tasks.append(asyncio.create_task(engine._feed.run()))
    await until(lambda: engine._feed._follow_from > 15)
    [done] = await engine.commit([Put(b"a", b"2")])
    assert [one.value for one in await changes_until(watch, done.revision)] == [b"1", b"2"]


async def test_a_load_whose_revision_is_compacted_never_mixes_two(
    start_etcd, open_board, monkeypatch
):
    monkeypatch.setattr(loading, "ASKED_PAIRS_MAX", 100)
    member = start_etcd()
    engine = await open_board(member)
    await engine.commit([Put(b"%04d" % number, b"old") for number in range(1000)])
    _, pages = await engine.load()
    assert {pair.value for pair in await anext(pages)} == {b"old"}
    [*_, last] = await engine.commit([Put(b"%04d" % number, b"new") for number in range(1000)])
    member.ctl("compact", str(last.revision))
    with pytest.raises(Compacted):
        _ = [page async for page in pages]
    assert set((await contents(engine)).values()) == {b"new"}


async def test_an_older_copy_of_an_etcd_is_not_taken_for_it(start_etcd, open_board, until):
    member = start_etcd()
    engine = await open_board(member)
    for number in range(5):
        await engine.commit([Put(b"a", b"%d" % number)])
    member.stop()
    shutil.rmtree(member.directory / member.name)
    member.start()
    await until(lambda: "has gone back" in engine.status().reason)
    with pytest.raises(Refused, match="restart this node"):
        await engine.confirm()


async def test_a_full_etcd_refuses_and_says_so_until_it_is_mended(start_etcd, open_board, until):
    member = start_etcd("--quota-backend-bytes", str(4 * 1024 * 1024))
    engine = await open_board(member)

    async def fill():
        for number in range(300):
            await engine.commit([Put(b"%d" % number, bytes(256 * 1024))])

    # etcd applies the first one over its quota before it refuses it.
    with pytest.raises(OutcomeUnknown, match="NOSPACE"):
        await fill()
    with pytest.raises(Refused, match="NOSPACE"):
        await engine.commit([Put(b"after", b"")])
    assert not engine.status().writable
    assert "NOSPACE" in engine.status().reason
    await engine.confirm()  # reads go on
    kept = await contents(engine)
    assert 0 < len(kept) < 300
    newly = await open_board(member)
    await until(lambda: "NOSPACE" in newly.status().reason)
    member.ctl("del", "--prefix", "board/b/")
    [status] = json.loads(member.ctl("endpoint", "status", "--write-out", "json").stdout)
    member.ctl("compact", str(status["Status"]["header"]["revision"]))
    member.ctl("defrag")
    member.ctl("alarm", "disarm")
    await until(lambda: newly.status().writable)
    assert isinstance((await engine.commit([Put(b"after", b"")]))[0], Done)
    assert engine.status().writable


async def test_a_paused_keeper_is_replaced_and_can_delete_nothing(start_etcd, open_board, until):
    """A real process, stopped with its lease and its guard; both are worthless when it goes on."""
    member = start_etcd()
    engine = await open_board(member, node="other")
    await engine.commit([Put(b"a", b"")])
    command = [sys.executable, "-P", str(KEEPER_CHILD), member.url]
    child = subprocess.Popen(  # noqa: ASYNC220
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "keeper\n"
        await until(lambda: engine.keeper() is not None and engine.keeper().name == "child")
        child.send_signal(signal.SIGSTOP)
        guard = await asyncio.wait_for(engine.campaign("other"), 10)
        child.stdin.write("delete\n")
        child.stdin.flush()
        child.send_signal(signal.SIGCONT)
        told = await asyncio.to_thread(child.communicate, "", 10)
        assert told[0].split() == ["lost", "Superseded"]
    finally:
        child.kill()
        child.communicate()
    assert await contents(engine) == {b"a": b""}
    assert await engine.commit([Put(b"b", b"")], guard)


async def test_users_and_passwords(start_etcd, open_board, until):
    member = start_etcd()
    for command in (
        "user add root:secret", "user add board:word", "role add board",
        "role grant-permission board readwrite board/ --prefix", "user grant-role root root",
        "user grant-role board board", "auth enable",
    ):  # fmt: skip
        member.ctl(*command.split())
    with pytest.raises(CannotStart, match="wants to know its users"):
        await open_board(member, start_s_max=0)
    with pytest.raises(CannotStart, match="does not know this user") as refused:
        await open_board(member, user="board", password="wrong-word", start_s_max=0)
    assert "wrong-word" not in str(refused.value)
    engine = await open_board(member, user="board", password="word")
    watch = engine.watch(0)
    assert await engine.campaign("one")
    await engine.commit([Put(b"a", b"1")])
    # A server that is started anew knows none of its tokens any more.
    member.stop()
    member.start()
    await until(lambda: member.ctl("endpoint", "health", "--user", "root:secret").returncode == 0)
    [done] = await engine.commit([Put(b"a", b"2")])
    assert [one.value for one in await changes_until(watch, done.revision)] == [b"1", b"2"]
    with pytest.raises(CannotStart, match="grant it readwrite"):
        await open_board(member, user="board", password="word", prefix="elsewhere/")


async def test_nobody_at_the_endpoints_is_said_at_the_start(open_board, etcd_member, tmp_path):
    nobody = etcd_member(tmp_path, "nobody")
    with pytest.raises(CannotStart, match=f"{nobody.url}.*cannot be reached"):
        await open_board(nobody, start_s_max=0.2)
    with pytest.raises(CannotStart, match=r"cannot be reached: no space left$"):
        await open_board(nobody, start_s_max=0.2, ailment=lambda: "no space left")


@pytest.mark.skipif(not os.path.exists("/proc"), reason="looks at open files in /proc")
async def test_a_closed_engine_leaves_no_socket_behind(start_etcd, open_board):
    member = start_etcd()
    engine = await open_board(member)
    await engine.campaign("one")
    await engine.commit([Put(b"a", b"")])
    port = member.url.rpartition(":")[2]
    assert _connections_to(port)
    await engine.close()
    async with asyncio.timeout(5):
        while _connections_to(port):  # noqa: ASYNC110  # the kernel tells nobody
            await asyncio.sleep(0.01)


def _connections_to(port):
    ran = subprocess.run(
        ["ss", "-Htnp", "state", "established", "dport", "=", f":{port}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in ran.stdout.splitlines() if f"pid={os.getpid()}," in line]
