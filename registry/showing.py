"""Waiting until this node shows a revision: what makes a node's own writes visible to its reads."""

import asyncio
from collections import deque


class Showing:
    """Calls that wait for the board to come to a revision."""

    def __init__(self) -> None:
        self.index = 0
        """What is shown."""
        self._waiting: deque[tuple[int, asyncio.Future[bool]]] = deque()
        self._stopped = False

    async def wait(self, revision: int) -> bool:
        """Wait until `revision` is shown; False when the node stops before that."""
        if self.index >= revision or self._stopped:
            return self.index >= revision
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, waiter))
        return await waiter

    def reached(self, index: int) -> None:
        """`index` is shown."""
        self.index = index
        for _ in range(len(self._waiting)):
            revision, waiter = self._waiting.popleft()
            if revision > index:
                self._waiting.append((revision, waiter))
            elif not waiter.done():
                waiter.set_result(True)

    def stop(self) -> None:
        """Nothing more will be shown."""
        self._stopped = True
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(False)
        self._waiting.clear()
