"""Disk full, failing, read-only: refused with a clear text, read on, never a false promise."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from callboard.registry.engine import (
    CannotStart,
    EngineError,
    OutcomeUnknown,
    Put,
    Refused,
    SqliteEngine,
)

VALUE = b"x" * 3000


async def keys(engine):
    _, pages = await engine.load()
    return {pair.key async for page in pages for pair in page}


async def write_until_it_fails(engine, tries=2000):
    """The keys that were acknowledged, and what ended it."""
    acknowledged = set()
    for number in range(tries):
        key = b"%05d" % number
        try:
            await engine.commit([Put(key, VALUE)])
        except EngineError as error:
            return acknowledged, key, error
        acknowledged.add(key)
    return acknowledged, None, None


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
async def test_a_full_disk_refuses_writes_until_there_is_space_again(
    kind, mounted, ext4_image, tmp_path
):
    ground = tmp_path / "ground"
    if kind == "tmpfs":
        mount = mounted("none", ground, "-t", "tmpfs", "-o", "size=4m")
    else:
        mount = mounted(ext4_image(16), ground, "-o", "loop")
    with mount:
        engine = await SqliteEngine.open(ground / "data")
        try:
            await engine.commit([Put(b"first", VALUE)])
            ballast = ground / "ballast"
            ballast.write_bytes(bytes(1024 * 1024))
            acknowledged, refused, error = await write_until_it_fails(engine, 20_000)
            assert isinstance(error, Refused), error
            assert "no space left" in str(error)
            assert not engine.status().writable
            assert "no space left" in engine.status().reason
            assert await keys(engine) == acknowledged | {b"first"}
            with pytest.raises(Refused):
                await engine.commit([Put(refused, VALUE)])

            ballast.unlink()
            await engine.commit([Put(b"again", VALUE)])
            assert engine.status().writable
            assert engine.status().reason == ""
        finally:
            await engine.close()
        engine = await SqliteEngine.open(ground / "data")
        try:
            assert await keys(engine) == acknowledged | {b"first", b"again"}
        finally:
            await engine.close()


async def test_a_disk_that_turns_read_only_stops_the_writing_and_not_the_reading(
    mounted, ext4_image, tmp_path
):
    image = ext4_image(16)
    with mounted(image, tmp_path / "ground", "-o", "loop,errors=remount-ro") as ground:
        devices = subprocess.run(["losetup", "-j", image], capture_output=True, text=True).stdout
        trigger = Path("/sys/fs/ext4", Path(devices.split(":")[0]).name, "trigger_fs_error")
        engine = await SqliteEngine.open(ground / "data")
        watch = engine.watch(0)
        try:
            await engine.commit([Put(b"a", b"1")])
            trigger.write_text("1")
            with pytest.raises((Refused, OutcomeUnknown)):
                await engine.commit([Put(b"b", b"1")])
            with pytest.raises(Refused, match="until this node is restarted"):
                await engine.commit([Put(b"c", b"1")])
            assert not engine.status().writable
            assert await keys(engine) == {b"a"}
            assert [change.key for change in await anext(watch)] == [b"a"]
        finally:
            await engine.close()


LIMITED = """
import asyncio, resource, sys
from callboard.registry.engine import *

async def main():
    engine = await SqliteEngine.open(sys.argv[1])
    # The soft limit reaches the writer, which was started before, only this way.
    (pid,) = open(f"/proc/self/task/{__import__('os').getpid()}/children").read().split()
    resource.prlimit(int(pid), resource.RLIMIT_FSIZE, (300_000, 300_000))
    number = 0
    try:
        while True:
            await engine.commit([Put(b"%05d" % number, b"x" * 3000)])
            print("acknowledged", number, flush=True)
            number += 1
    except EngineError as error:
        print("error", type(error).__name__, error)
    try:
        await engine.commit([Put(b"later", b"")])
    except EngineError as error:
        print("later", type(error).__name__, error)
    _, pages = await engine.load()
    print("readable", sum([len(page) async for page in pages]))
    await engine.close()

asyncio.run(main())
"""


async def test_a_file_that_may_not_grow_stops_the_engine_and_loses_nothing(tmp_path):
    command = [sys.executable, "-P", "-c", LIMITED, str(tmp_path / "data")]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    lines = [line.split(maxsplit=2) for line in ran.stdout.splitlines()]
    acknowledged = {b"%05d" % int(line[1]) for line in lines if line[0] == "acknowledged"}
    ends = {line[0]: line[1:] for line in lines if line[0] != "acknowledged"}
    assert acknowledged, ran.stderr
    assert ends["error"][0] in ("Refused", "OutcomeUnknown"), ran.stderr
    assert ends["later"][0] == "Refused"
    assert "restarted" in ends["later"][1]
    assert ends["readable"] == [str(len(acknowledged))]
    engine = await SqliteEngine.open(tmp_path / "data")
    try:
        assert acknowledged <= await keys(engine)
    finally:
        await engine.close()


FAILURES = [1, 2, 3, 4, 5, 6, 7, 9, 12, 20]


@pytest.mark.parametrize("fail_at", FAILURES)
async def test_nothing_is_promised_or_written_after_a_failed_sync(
    fail_at, preload, monkeypatch, tmp_path
):
    """Whether the sync is of the start, of a commit or of a checkpoint."""
    data_dir = tmp_path / "data"
    log = preload(fail_at)
    acknowledged: set[bytes] = set()
    unsure = None
    try:
        engine = await SqliteEngine.open(data_dir)
    except CannotStart:
        assert fail_at <= 4, "only creation and opening sync so early"
    else:
        told = engine.watch(0)
        acknowledged, unsure, error = await write_until_it_fails(engine, 40)
        assert error is not None
        with pytest.raises(Refused, match="until this node is restarted"):
            await engine.commit([Put(b"later", b"")])
        assert not engine.status().writable
        assert await keys(engine) == acknowledged
        await engine.close()
        assert {change.key async for changes in told for change in changes} == acknowledged
        if isinstance(error, Refused):
            unsure = None  # a refusal is a promise as well
    monkeypatch.delenv("LD_PRELOAD")
    calls = log.read_text().split()
    assert calls[-1] == "sync-failed", "something was written or synced after the failure"

    engine = await SqliteEngine.open(data_dir)
    try:
        found = await keys(engine)
    finally:
        await engine.close()
    assert acknowledged <= found <= acknowledged | {unsure}


async def test_the_failures_tried_above_reach_commits_and_checkpoints(preload, tmp_path):
    """The control: without a failure the same writes sync often enough, and all are stored."""
    log = preload()
    engine = await SqliteEngine.open(tmp_path / "data")
    acknowledged, _, error = await write_until_it_fails(engine, 40)
    assert error is None
    assert await keys(engine) == acknowledged
    await engine.close()
    assert log.read_text().split().count("sync") > max(FAILURES)
    assert os.path.getsize(tmp_path / "data" / "board.db") > 40 * len(VALUE)
