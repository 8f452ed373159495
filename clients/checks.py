"""Runs a user's health check and turns whatever it does into a status. Never raises, never
blocks the loop, never has two runs of one check under way."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

CHECK_S_MAX: Final = 5.0
"""A check that takes longer says as much about the service as one that fails."""
OUTPUT_CHARS_MAX: Final = 1024
"""The end of a long message is for the service's own log."""
STATUSES: Final = ("passing", "warning", "critical", "maintenance")

CheckResult = bool | tuple[str, str]
Check = Callable[[], CheckResult] | Callable[[], Awaitable[CheckResult]]


class Health(NamedTuple):
    status: str
    output: str = ""


def health(result: object) -> Health:
    """What a check that returned `result` has said."""
    if isinstance(result, bool):
        return Health("passing" if result else "critical")
    match result:
        case (str(status), str(output)) if status in STATUSES:
            return Health(status, output[:OUTPUT_CHARS_MAX])
    return Health("critical", f"the check returned {result!r:.200}: not a bool, nor (status, text)")


class CheckRunner:
    """Call `run` as often as the check is due."""

    def __init__(self, check: Check, timeout_s: float = CHECK_S_MAX) -> None:
        self._check = check
        self._timeout_s = timeout_s
        self._under_way: asyncio.Future[object] | None = None

    async def run(self) -> Health:
        if self._under_way is None:
            self._under_way = self._start()
        # A thread cannot be stopped: one that is late is waited for, and no second is started.
        done, _ = await asyncio.wait([self._under_way], timeout=self._timeout_s)
        if not done:
            if isinstance(self._under_way, asyncio.Task):
                await self.close()
            return Health("critical", f"the check has not answered within {self._timeout_s:g} s")
        finished, self._under_way = self._under_way, None
        try:
            return health(finished.result())
        except asyncio.CancelledError:
            return Health("critical", "the check was cancelled")
        except Exception as error:  # noqa: BLE001  # a check may fail in any way
            text = f"{type(error).__name__}: {error}"
            return Health("critical", text[:OUTPUT_CHARS_MAX])

    async def close(self) -> None:
        """Stop an asynchronous check; a thread ends by itself, and its result is dropped."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.cancel()
            await asyncio.wait([under_way])

    def _start(self) -> asyncio.Future[object]:
        if inspect.iscoroutinefunction(self._check):
            return asyncio.create_task(self._check())
        return _in_thread(self._check)


def _in_thread(check: Callable[[], object]) -> asyncio.Future[object]:
    """In a thread of its own: a pool would be joined at exit, and a check that hangs with it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[object] = loop.create_future()

    def settle(result: object, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result: object = None
        failure: Exception | None = None
        try:
            result = check()
        except StopIteration as error:  # a future cannot hold it
            failure = RuntimeError(repr(error))
        except Exception as error:  # noqa: BLE001  # a check may fail in any way
            failure = error
        except BaseException as error:  # noqa: BLE001  # exiting is only the check's verdict
            failure = RuntimeError(repr(error))
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="callboard-check", daemon=True).start()
    return future
