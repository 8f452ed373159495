"""The latest changes, kept for whoever watches: bounded, however slow a watcher is."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from .seam import Change, Compacted

HISTORY_CHANGES_MAX: Final = 65_536
"""Some seconds of the fastest writing: a watcher that is further behind loads again."""
HISTORY_BYTES_MAX: Final = 64 * 1024 * 1024
"""The same bound for large values, which are up to 512 KiB each."""


class History:
    """Batches of changes in order of revision. Belongs to the event loop's thread.

    Watchers hold no queue, only the revision they have seen, so a slow one costs nothing.
    """

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self._oldest = revision
        self._batches: deque[tuple[Sequence[Change], int]] = deque()
        """With the size of their values in bytes."""
        self._changes = 0
        self._bytes = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False
        self._defect: BaseException | None = None

    def append(self, batch: Sequence[Change]) -> None:
        """Keep `batch` and wake the watchers; the oldest go when the others fill the bounds.

        So a batch that is larger than the bounds by itself still reaches the watchers.
        """
        size_bytes = sum(len(change.value) for change in batch if change.value is not None)
        self._batches.append((batch, size_bytes))
        self._changes += len(batch)
        self._bytes += size_bytes
        self.revision = batch[-1].revision
        while self._full_without_oldest():
            gone, gone_bytes = self._batches.popleft()
            self._changes -= len(gone)
            self._bytes -= gone_bytes
            self._oldest = gone[-1].revision
        self._wake()

    def _full_without_oldest(self) -> bool:
        oldest, oldest_bytes = self._batches[0]
        return (
            self._changes - len(oldest) >= HISTORY_CHANGES_MAX
            or self._bytes - oldest_bytes >= HISTORY_BYTES_MAX
        )

    def restart(self, revision: int) -> None:
        """Changes up to `revision` are lost: whoever has not seen them is told to load again."""
        self._batches.clear()
        self._changes = self._bytes = 0
        self.revision = self._oldest = revision
        self._wake()

    def close(self, defect: BaseException | None = None) -> None:
        """Watchers get what is there, and then come to their end, or to `defect`."""
        self._closed = True
        self._defect = self._defect or defect
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def after(self, revision: int) -> Sequence[Change]:
        """All changes after `revision`, perhaps none yet. Raises `Compacted`."""
        if revision < self._oldest:
            raise Compacted(
                f"changes are kept from revision {self._oldest} on, not from {revision}"
            )
        pending: list[Sequence[Change]] = []
        for batch, _ in reversed(self._batches):
            if batch[-1].revision <= revision:
                break
            pending.append(batch)
        if len(pending) == 1 and pending[0][0].revision > revision:
            return pending[0]
        return [
            change for batch in reversed(pending) for change in batch if change.revision > revision
        ]

    async def wait(self) -> bool:
        """Until something has been appended; False when nothing ever will be. Raises the defect
        that is why."""
        if self._defect is not None:
            raise self._defect
        if self._closed:
            return False
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
        return True


class Watch:
    """An iterator over the history; each step takes all changes that it has not seen."""

    def __init__(self, history: History, from_revision: int) -> None:
        self._history = history
        self._seen = from_revision

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Sequence[Change]:
        while not (changes := self._history.after(self._seen)):
            if not await self._history.wait():
                raise StopAsyncIteration
        self._seen = changes[-1].revision
        return changes
