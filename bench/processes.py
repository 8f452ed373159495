"""Servers as child processes: pinned to one core, measured from /proc, never left behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

_CORES = sorted(os.sched_getaffinity(0))
ALL_CORES = frozenset(_CORES)
SERVER_CORE = _CORES[0]
LOAD_CORE = _CORES[-1]

START_S_MAX = 120.0
"""A node with a million instances loads before it answers; nothing sane takes longer."""
STOP_S_MAX = 60.0
"""Long enough to drain and close a large database, then the group is killed."""

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Missing(Exception):
    """A program is not installed."""


class DidNotStart(Exception):
    """A server ended or stayed silent instead of getting ready; carries the end of its log."""


def found(program: str) -> str:
    """Debian puts servers where an ordinary user's PATH does not look."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise Missing(program)
    return path


class Server:
    """One server and everything it forks, on `cores`. Use it as a context manager."""

    def __init__(self, argv: list[str], log: Path) -> None:
        self._argv = argv
        self.log = log
        self.cores = frozenset({SERVER_CORE})
        """Those of all its threads, as of the next start or `pin`."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            # Its own session: Ctrl-C reaches the benchmark alone, which then stops all in order.
            cores = ",".join(map(str, self.cores))
            self._process = subprocess.Popen(
                [found("taskset"), "-c", cores, *self._argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None, "started first"
        return self._process.pid

    def stop(self) -> None:
        process = self._process
        if process is None:
            return
        self._process = None
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
        # Whatever the leader did with its children, none outlives it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL to the process itself: what becomes of its children is its own affair."""
        assert self._process is not None, "started first"
        self._process.kill()
        self._process.wait()
        self._process = None

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Raises `DidNotStart`."""
        deadline = time.monotonic() + START_S_MAX
        while not is_ready():
            assert self._process is not None, "started first"
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise DidNotStart(f"{' '.join(self._argv[:2])}: {self._end_of_log()}")
            time.sleep(0.002)
        self.pin()

    def _end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def pids(self) -> list[int]:
        return [self.pid, *descendants(self.pid)]

    def cpu_s(self) -> float:
        return sum(cpu_s(pid) for pid in self.pids())

    def rss_bytes(self) -> int:
        return sum(rss_bytes(pid) for pid in self.pids())

    def pin(self) -> None:
        """Again, thread by thread: Knot chooses cores for its workers whatever taskset said."""
        for tid in self._threads():
            os.sched_setaffinity(tid, self.cores)

    def is_pinned(self) -> bool:
        """Whether every thread really has just the server's cores."""
        return all(os.sched_getaffinity(tid) == self.cores for tid in self._threads())

    def _threads(self) -> list[int]:
        return [int(task.name) for pid in self.pids() for task in _tasks(pid)]


def descendants(pid: int) -> list[int]:
    found_pids = [child for task in _tasks(pid) for child in _children(task)]
    return found_pids + [deeper for child in found_pids for deeper in descendants(child)]


def _tasks(pid: int) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        yield from Path(f"/proc/{pid}/task").iterdir()


def _children(task: Path) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in (task / "children").read_text().split()]
    return []


def cpu_s(pid: int) -> float:
    """User and system time of all threads of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def busy_s(core: int) -> float:
    """A clock of how long this core was not idle, whoever used it; only differences mean anything.

    By idle time, which the kernel measures; what /proc/stat says of work is sampled at ticks, and
    sees next to nothing of a server that wakes for a moment between two of them.
    """
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            idle, iowait = map(int, line.split()[4:6])
            return time.monotonic() - (idle + iowait) * _TICK_S
    raise LookupError(core)
