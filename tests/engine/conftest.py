"""Engines, faults and foreign ground for the engine's tests."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from callboard.registry.engine import SqliteEngine
from callboard.registry.engine.etcd import EtcdEngine, EtcdSettings

ETCD = pytest.mark.foreign("etcd")
ENGINES = ["sqlite", pytest.param("etcd", marks=ETCD), pytest.param("exclusive etcd", marks=ETCD)]
"""Every engine passes the suite."""


HERE = Path(__file__).parent


class Opener:
    """Opens engines on one data directory and closes whatever a test leaves open."""

    def __init__(self, open_one, data_dir):
        self._open_one = open_one
        self.data_dir = data_dir
        self.opened = []

    async def __call__(self):
        engine = await self._open_one(self.data_dir, node="one")
        self.opened.append(engine)
        return engine


async def _opener(open_one, data_dir):
    opener = Opener(open_one, data_dir)
    yield opener
    for engine in opener.opened:
        await engine.close()


def _on_etcd(url, *, owned):
    async def open_board(data_dir, *, node):
        """An engine whose board stands under the name of `data_dir`."""
        settings = EtcdSettings(
            endpoints=(url,),
            prefix=f"{data_dir}/",
            transaction_operations_max=2048,
            owned=owned,
        )
        return await EtcdEngine.open(settings, node=node)

    return open_board


@pytest.fixture(params=ENGINES)
async def open_engine(request, tmp_path):
    """For the suite: `await open_engine()` with each engine in turn."""
    if request.param == "sqlite":
        async for opener in _opener(SqliteEngine.open, tmp_path / "data"):
            yield opener
        return
    owned = request.param == "exclusive etcd"
    member = request.getfixturevalue("exclusive_etcd" if owned else "etcd")
    open_one = _on_etcd(member.url, owned=owned)
    async for opener in _opener(open_one, tmp_path / "data"):
        yield opener


@pytest.fixture(scope="session")
def exclusive_etcd(etcd_member, tmp_path_factory):
    """One that only the suite writes to, a test at a time."""
    directory = tmp_path_factory.mktemp("exclusive-etcd")
    member = etcd_member(directory, "one", "--max-txn-ops", "2048").start()
    try:
        yield member.wait_ready()
    finally:
        member.stop()


@pytest.fixture
async def open_sqlite(tmp_path):
    """For what only SQLite promises."""
    async for opener in _opener(SqliteEngine.open, tmp_path / "data"):
        yield opener


@pytest.fixture
async def engine(open_engine):
    return await open_engine()


@pytest.fixture
def writer_pid(tmp_path):
    """`writer_pid()`: the writer process of this test's board, from the kernel's table."""

    def find():
        tasks = Path("/proc/self/task").glob("*/children")
        children = [int(pid) for task in tasks for pid in task.read_text().split()]
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        (pid,) = [
            pid
            for pid, command in commands.items()
            if "engine.writer" in command and str(tmp_path) in command
        ]
        return pid

    return find


@pytest.fixture(scope="session")
def sync_shim(tmp_path_factory, require):
    """A library to preload that counts syncs and writes of the board, and fails the n-th sync."""
    require("cc")
    library = tmp_path_factory.mktemp("shim") / "failing_sync.so"
    source = HERE / "failing_sync.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def preload(sync_shim, tmp_path, monkeypatch):
    """`preload(fail_at)` for writers started from now on; the log of their system calls."""

    def start(fail_at=0, file="board.db"):
        log = tmp_path / f"syscalls-{fail_at}"
        log.touch()
        monkeypatch.setenv("LD_PRELOAD", str(sync_shim))
        monkeypatch.setenv("BOARD_FILE", file)
        monkeypatch.setenv("FAIL_SYNC_AT", str(fail_at))
        monkeypatch.setenv("SYSCALL_LOG", str(log))
        return log

    return start


@pytest.fixture
def mounted():
    """`with mounted(source, directory, *options)`: needs root; unmounts whatever happens."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")

    @contextmanager
    def mount(source, directory, *options) -> Iterator[Path]:
        directory.mkdir(exist_ok=True)
        command = ["mount", *options, str(source), str(directory)]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            pytest.skip(f"cannot mount here: {ran.stderr.strip()}")
        try:
            yield directory
        finally:
            subprocess.run(["umount", str(directory)], check=True)

    return mount


@pytest.fixture
def ext4_image(tmp_path):
    """`ext4_image(size_mib)`: the path of a new file system in a file."""

    def make(size_mib):
        image = tmp_path / "disk.img"
        with image.open("wb") as file:
            file.truncate(size_mib * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
        return image

    return make
