"""Kill -9 and power cuts lose nothing that was acknowledged."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from callboard.registry.engine import CannotStart, SqliteEngine

CHILD = Path(__file__).with_name("board_child.py")
SOON_S = 30.0


def value_of(key, length):
    return (key * (length // len(key) + 1))[:length]


@contextlib.contextmanager
def child(data_dir, seed, *options):
    """A process that writes, alone in its process group; dead at the end."""
    command = [sys.executable, "-P", str(CHILD), str(data_dir), seed, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        yield process
    finally:
        kill_group(process)
        process.stdout.close()


def kill_group(process):
    """Returns when node and writer are gone, and with them their hold on a mounted disk."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not set(group_states(process.pid)) - {"Z"})


def wait_until(condition):
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def acknowledged(lines):
    """Keys and lengths from whole lines; the last one may have been cut."""
    pairs = [line.split() for line in lines if line.endswith(b"\n")]
    return {key: int(length) for key, length in pairs}


def read_lines(process, count):
    lines = []
    while len(lines) < count:
        line = process.stdout.readline()
        assert line, "the child ended by itself"
        lines.append(line)
    return lines


async def stored(data_dir):
    engine = await SqliteEngine.open(data_dir)
    try:
        _, pages = await engine.load()
        return {pair.key: pair.value for page in [page async for page in pages] for pair in page}
    finally:
        await engine.close()


def lost(expected, found):
    return [key for key, length in expected.items() if found.get(key) != value_of(key, length)]


async def test_kill_9_loses_nothing_acknowledged(tmp_path):
    """Again and again on one board, at random moments; at times the writer outlives the node."""
    rng = random.Random(3)
    expected = {}
    for turn in range(6):
        with child(tmp_path / "data", f"turn{turn}") as process:
            lines = await asyncio.to_thread(read_lines, process, rng.choice((1, 50, 400, 1500)))
            if turn % 2:
                kill_group(process)
            else:
                process.kill()
                process.wait()
            lines += process.stdout.readlines()
            # Here, while an orphaned writer may still be at its last commit.
            expected |= acknowledged(lines)
            found = await stored(tmp_path / "data")
        assert lost(expected, found) == []
        assert b"passing" not in found


@contextlib.contextmanager
def stopped(process):
    """No process of the group runs, so that a copy of the disk is of one moment."""
    os.killpg(process.pid, signal.SIGSTOP)
    wait_until(lambda: set(group_states(process.pid)) == {"T"})
    yield
    os.killpg(process.pid, signal.SIGCONT)


def group_states(group):
    states = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group:
            states.append(fields[0])
    return states


def write_and_cut_the_power(mounted, image, tmp_path, count, *options):
    """Runs the child on `image`; what it acknowledged, and the disk as the cut left it."""
    copy = tmp_path / "after.img"
    ground = tmp_path / "ground"
    with mounted(image, ground, "-o", "loop"), child(ground / "data", "cut", *options) as process:
        lines = read_lines(process, count)
        with stopped(process):
            os.set_blocking(process.stdout.fileno(), False)
            lines += process.stdout.readlines()
            shutil.copyfile(image, copy)
        kill_group(process)
    return acknowledged(lines), copy


@pytest.mark.foreign("mkfs.ext4", "mount")
@pytest.mark.parametrize("count", [1, 1500])
async def test_a_power_cut_loses_nothing_acknowledged(count, mounted, ext4_image, tmp_path):
    """The disk is copied while it is mounted: what was not synced is not in the copy."""
    expected, copy = await asyncio.to_thread(
        write_and_cut_the_power, mounted, ext4_image(192), tmp_path, count
    )
    with mounted(copy, tmp_path / "after", "-o", "loop") as ground:
        assert lost(expected, await stored(ground / "data")) == []


@pytest.mark.foreign("mkfs.ext4", "mount")
async def test_without_syncs_the_power_cut_is_seen_to_lose_data(mounted, ext4_image, tmp_path):
    """The control: the test above can fail."""
    expected, copy = await asyncio.to_thread(
        write_and_cut_the_power, mounted, ext4_image(192), tmp_path, 300, "unsynced"
    )
    with mounted(copy, tmp_path / "after", "-o", "loop") as ground:
        try:
            found = await stored(ground / "data")
        except CannotStart:
            found = {}
    assert lost(expected, found)
