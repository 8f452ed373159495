"""An event loop in a thread of its own, for callers that have none."""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

STOP_S_MAX: Final = 15.0
"""Longer than every farewell that a closing client says."""

T = TypeVar("T")


class LoopStopped(RuntimeError):
    """The client was closed while another thread waited for a call."""


class LoopThread:
    """Run coroutines from any thread. `stop()` may be called again."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._submitting = threading.RLock()
        """Held while a call is handed over: one that came behind the stop would never end.
        Reentrant, because a forgotten client may be collected while one is handed over."""
        self._stopping = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._serve, name="callboard-client", daemon=True)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        return self._stopping

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Its result; an interrupted wait (Ctrl-C) cancels it."""
        if self._pid != os.getpid() or threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(self._why_not())
        with self._submitting:
            if self._stopping:
                coroutine.close()
                raise LoopStopped(self._why_not())
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise LoopStopped("this callboard client was closed during the call") from error
        except BaseException:
            future.cancel()
            raise

    def run_last(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let the loop end after `coroutine`, without waiting for either."""
        if self._pid != os.getpid() or self.stopped:
            coroutine.close()
            return
        with self._submitting:
            self._stopping = True
            last = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        # Called in this thread when it is done already: then the loop has to be woken to stop.
        last.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))

    def _why_not(self) -> str:
        if self._pid != os.getpid():
            return "this client was made before the fork: make one in each process"
        if self.stopped:
            return "this callboard client is closed: make a new one"
        return "the client's own thread cannot wait for itself: use AsyncClient in coroutines"

    def stop(self) -> None:
        if self.stopped or self._pid != os.getpid():
            return
        with self._submitting:
            self._stopping = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_S_MAX)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self._loop.run_until_complete(asyncio.wait(tasks))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
