"""A data directory that cannot be used is refused with one line that says what to do."""

import asyncio
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading

import pytest
from callboard.registry.engine import CannotStart, Put, SqliteEngine, link
from callboard.registry.engine.opening import lock_node


async def test_a_second_engine_on_the_directory_is_refused_until_the_first_has_closed(open_sqlite):
    first = await open_sqlite()
    with pytest.raises(CannotStart, match=r"in use by another process: stop that one") as refused:
        await open_sqlite()
    assert "\n" not in str(refused.value)
    await first.close()
    await open_sqlite()


async def test_a_second_process_on_the_directory_is_refused(open_sqlite):
    await open_sqlite()
    code = (
        "import asyncio, sys\n"
        "from callboard.registry.engine import SqliteEngine, CannotStart\n"
        "try: asyncio.run(SqliteEngine.open(sys.argv[1]))\n"
        "except CannotStart as error: print(error)\n"
    )
    command = [sys.executable, "-P", "-c", code, str(open_sqlite.data_dir)]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert "in use by another process" in ran.stdout


async def test_a_file_in_place_of_the_directory(tmp_path):
    place = tmp_path / "file"
    place.write_text("")
    with pytest.raises(CannotStart, match="make it a directory that this user can write"):
        await SqliteEngine.open(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("mode", [0o500, 0o555])
def test_a_directory_that_this_user_cannot_write(tmp_path, mode):
    """As another user, for root may write everywhere; in a child, for there is no way back."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    data_dir.chmod(mode)
    for folder in tmp_path.parents:
        if folder.owner() == "root" and folder.name.startswith("pytest"):
            folder.chmod(0o755)
    tmp_path.chmod(0o755)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            lock_node(data_dir)
        except CannotStart as error:
            os._exit(7 if "runs as user 65534" in str(error) else 1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


async def test_a_directory_on_a_read_only_disk(mounted, tmp_path):
    (tmp_path / "below").mkdir()
    with (
        mounted("none", tmp_path / "ground", "-t", "tmpfs", "-o", "ro,size=1m") as ground,
        pytest.raises(CannotStart, match="Read-only file system"),
    ):
        await SqliteEngine.open(ground)


async def board_with_one_pair(open_sqlite):
    engine = await open_sqlite()
    await engine.commit([Put(b"a", b"1")])
    await engine.close()
    return open_sqlite.data_dir / "board.db"


async def test_another_format_version_is_refused_by_its_number(open_sqlite):
    path = await board_with_one_pair(open_sqlite)
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(CannotStart, match="format version 2 and this callboard reads 1"):
        await open_sqlite()


async def test_another_database_is_refused(open_sqlite):
    open_sqlite.data_dir.mkdir()
    with sqlite3.connect(open_sqlite.data_dir / "board.db") as connection:
        connection.execute("CREATE TABLE pair (key, value)")
    connection.close()
    with pytest.raises(CannotStart, match="not a board"):
        await open_sqlite()


@pytest.mark.parametrize("left", [b"", b"no database at all" * 1000])
async def test_what_is_no_database_is_refused_and_kept(open_sqlite, left):
    path = await board_with_one_pair(open_sqlite)
    path.write_bytes(left)
    with pytest.raises(CannotStart, match="Keep a copy of the directory"):
        await open_sqlite()
    assert path.read_bytes() == left


async def test_a_log_without_its_database_is_refused(open_sqlite, writer_pid):
    engine = await open_sqlite()
    await engine.commit([Put(b"a", b"1")])
    os.kill(writer_pid(), signal.SIGKILL)
    await engine.close()
    (open_sqlite.data_dir / "board.db").unlink()
    with pytest.raises(CannotStart, match=r"board\.db is missing while its log"):
        await open_sqlite()


async def test_a_half_made_database_is_made_anew(open_sqlite):
    open_sqlite.data_dir.mkdir()
    (open_sqlite.data_dir / "board.new").write_bytes(b"half")
    (open_sqlite.data_dir / "board.new-journal").write_bytes(b"half")
    await board_with_one_pair(open_sqlite)
    await open_sqlite()


async def test_a_closed_engine_leaves_no_process_thread_or_descriptor_behind(tmp_path, writer_pid):
    before = (len(os.listdir("/proc/self/fd")), threading.active_count())
    engine = await SqliteEngine.open(tmp_path / "data")
    pid = writer_pid()
    await engine.commit([Put(b"a", b"1")])
    _, pages = await engine.load()
    await anext(pages)
    await engine.close()
    await pages.aclose()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_writer_whose_node_is_killed_ends_without_a_word(tmp_path, capfd):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = link._spawn(theirs, tmp_path)
        theirs.close()
        assert select.select([ours], [], [], 20)[0], "it says that it is ready"
    # The kernel tells of an end that has left something unread by a reset.
    assert writer.wait(20) == 0
    assert capfd.readouterr().err == ""
