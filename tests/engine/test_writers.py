"""A writer that is killed while the node lives: what callers and watchers are told."""

import asyncio
import os
import signal

import pytest
from callboard.registry.engine import Compacted, EngineError, OutcomeUnknown, Put, Refused, writers

SOON_S = 30


async def until(condition):
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110  # the state is another process's
            await asyncio.sleep(0.01)


def is_gone(pid):
    """Ended, and no zombie either."""
    return not os.path.exists(f"/proc/{pid}")


async def written(engine):
    """The engine's revision, and everything that it holds."""
    revision, pages = await engine.load()
    return revision, {pair.key: pair.value async for page in pages for pair in page}


async def test_the_loss_of_the_writer_is_told_and_another_takes_its_place(open_sqlite, writer_pid):
    engine = await open_sqlite()
    await engine.commit([Put(b"a", b"1")])
    killed = writer_pid()
    os.kill(killed, signal.SIGSTOP)
    under_way = asyncio.ensure_future(engine.commit([Put(b"b", b"1")]))
    await asyncio.sleep(0)
    late = asyncio.ensure_future(engine.commit([Put(b"c", b"1")]))
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(OutcomeUnknown, match="the writer process is gone"):
        await under_way
    with pytest.raises(Refused, match="the writer process is gone"):
        await late
    assert not engine.status().writable
    assert (await written(engine))[1].keys() <= {b"a", b"b"}
    await until(lambda: engine.status().writable)
    [done] = await engine.commit([Put(b"d", b"1")])
    revision, pairs = await written(engine)
    assert revision == done.revision
    assert {b"a", b"d"} <= pairs.keys() <= {b"a", b"b", b"d"}
    assert writer_pid() != killed


class Follower:
    """Watches as the registry does: what it has missed it loads."""

    def __init__(self, engine):
        self._engine = engine
        self.pairs = {}
        self.revision = 0

    async def run(self):
        while True:
            try:
                async for changes in self._engine.watch(self.revision):
                    for change in changes:
                        assert change.revision > self.revision, "told twice, or out of order"
                        self.revision = change.revision
                        self.pairs[change.key] = change.value
            except Compacted:
                self.revision, self.pairs = await written(self._engine)


async def test_nothing_acknowledged_is_lost_and_every_change_is_told_once(open_sqlite, writer_pid):
    engine = await open_sqlite()
    follower = Follower(engine)
    following = asyncio.create_task(follower.run())
    acknowledged, unsure = {}, {}
    ended = asyncio.Event()

    async def write(name):
        number = 0
        while not ended.is_set():
            number += 1
            key, value = b"%d" % name, b"%d" % number
            try:
                await engine.commit([Put(key, value)])
                acknowledged[key] = value
                unsure.pop(key, None)
            except OutcomeUnknown:
                unsure[key] = value
            except EngineError:
                await asyncio.sleep(0.01)

    writing = [asyncio.create_task(write(name)) for name in range(50)]
    for _ in range(2):
        before = engine.status().revision
        await until(lambda before=before: engine.status().revision > before + 500)
        killed = writer_pid()
        os.kill(killed, signal.SIGKILL)
        await until(lambda killed=killed: is_gone(killed) and engine.status().writable)
    ended.set()
    await asyncio.gather(*writing)
    [last] = await engine.commit([Put(b"last", b"")])
    acknowledged[b"last"] = b""
    revision, pairs = await written(engine)
    assert revision == last.revision
    for key, value in acknowledged.items():
        assert pairs[key] in (value, unsure.get(key))
    await until(lambda: follower.revision == revision)
    assert follower.pairs == pairs
    following.cancel()
    await asyncio.wait([following])


async def test_a_writer_that_cannot_be_replaced_is_given_up(open_sqlite, writer_pid, monkeypatch):
    monkeypatch.setattr(writers, "RESTART_DELAYS_S", (0.0, 0.01))
    engine = await open_sqlite()
    await engine.commit([Put(b"a", b"1")])
    (open_sqlite.data_dir / "board.db").rename(open_sqlite.data_dir / "away")
    os.kill(writer_pid(), signal.SIGKILL)
    await until(lambda: "until this node is restarted" in engine.status().reason)
    assert "no other starts" in engine.status().reason
    with pytest.raises(Refused, match="until this node is restarted"):
        await engine.commit([Put(b"b", b"1")])


async def test_closing_does_not_wait_for_another_writer(open_sqlite, writer_pid, monkeypatch):
    monkeypatch.setattr(writers, "RESTART_DELAYS_S", (3600.0,))
    engine = await open_sqlite()
    killed = writer_pid()
    os.kill(killed, signal.SIGKILL)
    await until(lambda: not engine.status().writable)
    await asyncio.wait_for(engine.close(), SOON_S)
    assert is_gone(killed)


async def test_a_writer_that_died_of_a_failed_page_is_not_replaced(open_sqlite, writer_pid):
    engine = await open_sqlite()
    await engine.commit([Put(b"a", b"1")])
    os.kill(writer_pid(), signal.SIGBUS)
    await until(lambda: "until this node is restarted" in engine.status().reason)
    with pytest.raises(Refused, match="until this node is restarted"):
        await engine.commit([Put(b"b", b"1")])
    assert await written(engine) == (1, {b"a": b"1"})
