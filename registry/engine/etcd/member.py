"""A member of etcd as a child of this node: started, heard, started again, stopped."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from . import tether
from .member_command import SOCKET, MemberSettings, command
from .member_log import Line, Lines, cause, read_line

RESTART_S_MIN: Final = 0.2
RESTART_S_MAX: Final = 10.0
"""Between a death and the next start, doubled each time: a log that cannot be synced makes etcd
panic at every start, and a machine must not spend itself on that."""
STEADY_S: Final = 30.0
"""A member that lived this long is no part of a series of crashes."""
STOP_S_MAX: Final = 5.0
"""etcd hands its leadership over and closes its files in well under a second."""
READ_BYTES: Final = 64 * 1024

_REMOVED: Final = "permanently removed from the cluster"
_STRANGERS: Final = "cluster ID mismatch"
_BOOTSTRAPPED: Final = "has already been bootstrapped"


class EtcdMember:
    """`await start()` from the main thread: the child dies with the thread that started it.

    `ailment` says why it does not run, "" while it does; `removed` that it has been taken out
    of the cluster, after which it is not started again and `on_removed` has been called.
    """

    def __init__(
        self,
        etcd: str,
        settings: MemberSettings,
        run_dir: Path,
        on_removed: Callable[[], None] = lambda: None,
    ) -> None:
        self._command = command(etcd, settings)
        self._run_dir = run_dir
        self._on_removed = on_removed
        self._log = logging.getLogger(f"callboard.etcd.{settings.name}")
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._said: Line | None = None
        """What would be the reason if it ended now."""
        self.ailment = ""
        self.removed = False
        self.meets_strangers = False
        """Peers said that they belong to another cluster."""
        self.was_here_before = False
        """The cluster remembers a member of this name, whose data are gone."""

    @property
    def endpoint(self) -> str:
        """Where this node alone reaches it: a socket in a directory that is closed to others."""
        return f"unix:{self._run_dir / SOCKET}"

    async def start(self) -> None:
        await self._spawn()
        self._task = asyncio.create_task(self._supervise(), name="etcd-member")

    async def close(self) -> None:
        """Stop it; safe to repeat."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._stop()

    async def _spawn(self) -> None:
        self._said = None
        # A member that was killed leaves it behind, and etcd would not listen on it again.
        (self._run_dir / SOCKET).unlink(missing_ok=True)
        # -I: nothing in the user's directories or environment stands in for the library.
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", tether.__file__, str(os.getpid())),
            *self._command,
            cwd=self._run_dir,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = RESTART_S_MIN
        while True:
            began = loop.time()
            await self._listen()
            if self.removed:
                self._on_removed()
                return
            wait_s = RESTART_S_MIN if loop.time() - began > STEADY_S else wait_s
            self.ailment = f"its etcd member ended: {self._end()}"
            self._log.error("the member ended; starting it again in %.1f s", wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RESTART_S_MAX)
            try:
                await self._spawn()
            except OSError as error:  # no memory or no process to be had: the next turn tries again
                self._said = Line(logging.CRITICAL, f"it could not be started: {error}")

    def _end(self) -> str:
        assert self._process is not None
        said, code = self._said, self._process.returncode or 0
        if code < 0 and (said is None or said.level < logging.CRITICAL):
            return signal.Signals(-code).name
        return said.text if said else "without a word"

    async def _listen(self) -> None:
        """Log what it writes, until it has ended."""
        process = self._process
        assert process is not None
        assert process.stderr is not None
        lines = Lines()
        while data := await process.stderr.read(READ_BYTES):
            for raw in lines.feed(data):
                self._hear(raw)
        await process.wait()

    def _hear(self, raw: bytes) -> None:
        line = read_line(raw)
        self._said = cause(self._said, line)
        self.removed = self.removed or _REMOVED in line.text
        self.meets_strangers = self.meets_strangers or _STRANGERS in line.text
        self.was_here_before = self.was_here_before or _BOOTSTRAPPED in line.text
        if "ready to serve client requests" in line.text:
            self.ailment = ""
        self._log.log(line.level, "%s", line.text)

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        drained = asyncio.create_task(self._drain(process))
        done, _ = await asyncio.wait([drained], timeout=STOP_S_MAX)
        if not done:
            process.kill()
            await drained

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        """A child whose pipe is full does not end."""
        assert process.stderr is not None
        while await process.stderr.read(READ_BYTES):
            pass
        await process.wait()
