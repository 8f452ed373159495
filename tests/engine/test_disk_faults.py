"""Disk full, failing, read-only: refused with a clear text, read on, never a false promise."""

import asyncio
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
    kind, mounted, ext4_image, tmp_path, monkeypatch
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
            monkeypatch.setattr("callboard.registry.engine.link.REFUSED_S", 0.0)
            with pytest.raises(Refused):  # too large for any disk: the last word is a refusal
                await engine.commit([Put(b"huge", bytes(20 * 1024 * 1024))])
            assert engine.status().writable, "nobody may write while this says no: it ends alone"
            monkeypatch.undo()
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


def turn_read_only(image):
    """What the kernel does when it finds an ext4 file system damaged."""
    devices = subprocess.run(["losetup", "-j", image], capture_output=True, text=True).stdout
    Path("/sys/fs/ext4", Path(devices.split(":")[0]).name, "trigger_fs_error").write_text("1")


async def test_a_disk_that_turns_read_only_stops_the_writing_and_not_the_reading(
    mounted, ext4_image, tmp_path
):
    image = ext4_image(16)
    with mounted(image, tmp_path / "ground", "-o", "loop,errors=remount-ro") as ground:
        engine = await SqliteEngine.open(ground / "data")
        watch = engine.watch(0)
        try:
            await engine.commit([Put(b"a", b"1")])
            turn_read_only(image)
            with pytest.raises((Refused, OutcomeUnknown)):
                await engine.commit([Put(b"b", b"1")])
            async with asyncio.timeout(20):  # a writer that died of it has to be buried first
                while "until this node is restarted" not in engine.status().reason:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            with pytest.raises(Refused, match="until this node is restarted"):
                await engine.commit([Put(b"c", b"1")])
            assert not engine.status().writable
            assert await keys(engine) == {b"a"}
            assert [change.key for change in await anext(watch)] == [b"a"]
        finally:
            await engine.close()


LIMITED = """
import asyncio, pathlib, resource, sys
from callboard.registry.engine import *

async def main():
    engine = await SqliteEngine.open(sys.argv[1])
    (pid,) = [
        pid
        for children in pathlib.Path("/proc/self/task").glob("*/children")
        for pid in children.read_text().split()
    ]
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
"""The third and the fourth are those of the first checkpoint, the others those of commits."""


@pytest.mark.parametrize("fail_at", FAILURES)
async def test_nothing_is_promised_shown_or_written_after_a_failed_sync(
    fail_at, preload, monkeypatch, tmp_path
):
    log = preload(fail_at)
    engine = await SqliteEngine.open(tmp_path / "data")
    told = engine.watch(0)
    acknowledged, unsure, error = await write_until_it_fails(engine, 40)
    assert error is not None
    with pytest.raises(Refused, match="until this node is restarted"):
        await engine.commit([Put(b"later", b"")])
    assert not engine.status().writable
    assert await keys(engine) == acknowledged
    await engine.close()
    assert {change.key async for changes in told for change in changes} == acknowledged
    assert log.read_text().split()[-1] == "sync-failed", "nothing is tried again"
    if isinstance(error, Refused):
        unsure = None  # a refusal is a promise as well

    monkeypatch.delenv("LD_PRELOAD")
    engine = await SqliteEngine.open(tmp_path / "data")
    try:
        found = await keys(engine)
    finally:
        await engine.close()
    assert acknowledged <= found <= acknowledged | {unsure}


async def test_the_failures_tried_above_are_reached(preload, tmp_path):
    """The control: without a failure the same writes sync often enough, and all are stored."""
    log = preload()
    engine = await SqliteEngine.open(tmp_path / "data")
    acknowledged, _, error = await write_until_it_fails(engine, 40)
    assert error is None
    assert await keys(engine) == acknowledged
    await engine.close()
    assert log.read_text().split().count("sync") > max(FAILURES)


async def test_a_failed_sync_while_the_board_is_made_leaves_a_fresh_start(
    preload, monkeypatch, tmp_path
):
    errors = []
    for fail_at in range(1, 7):
        data_dir = tmp_path / f"data-{fail_at}"
        log = preload(fail_at, "board.new")
        try:
            await (await SqliteEngine.open(data_dir)).close()
        except CannotStart as error:
            errors.append(str(error))
        assert ("sync-failed" in log.read_text()) == (len(errors) == fail_at)
        monkeypatch.delenv("LD_PRELOAD")
        engine = await SqliteEngine.open(data_dir)
        await engine.commit([Put(b"a", b"1")])
        await engine.close()
    assert len(errors) >= 2
    assert all("the disk failed" in error for error in errors)
