"""Saving everything that a server stores to a file, and restoring it."""

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import IO, Final

from . import requests
from .calling import BROKEN, Caller, reason
from .errors import Conflict, Unavailable
from .new_file import FileThere, NewFile

SNAPSHOT_S: Final = 600.0
"""Long enough for a million instances over a slow link."""
CHUNK_BYTES: Final = 2**18


class AsyncSnapshots:
    """`client.snapshot`. Raise `CallboardError`, and `OSError` for what the disk says."""

    def __init__(self, caller: Callable[[], Caller]) -> None:
        self._caller = caller

    async def save(
        self, path: str | os.PathLike[str], *, force: bool = False, timeout: float = SNAPSHOT_S
    ) -> int:
        """Write a new file; the bytes written. It is there whole and synced, or not at all.

        Raises `Conflict` when `path` exists and `force` is not given.
        """
        try:
            file = await asyncio.to_thread(NewFile, path, replace=force)
            try:
                size_bytes = await self._receive(file, timeout)
                await asyncio.to_thread(file.publish)
            finally:
                await asyncio.to_thread(file.discard)
        except FileThere as error:
            raise Conflict(
                f"{error} exists: name another file, or replace it with force", code="file_exists"
            ) from error
        return size_bytes

    async def restore(self, path: str | os.PathLike[str], *, timeout: float = SNAPSHOT_S) -> int:
        """Make the server hold what the file holds; the index after it. Never repeated."""
        with ExitStack() as files:

            def body() -> IO[bytes]:
                return files.enter_context(open(path, "rb"))  # aiohttp closes what it has sent

            return await self._caller().call(requests.restore_snapshot(), timeout, body)

    async def _receive(self, file: NewFile, timeout_s: float) -> int:
        size_bytes = 0
        try:
            async with asyncio.timeout(timeout_s):
                # Nothing comes before the server has made all of its copy.
                saved = self._caller().stream(
                    requests.save_snapshot(), timeout_s, silence_s=timeout_s
                )
                async with saved as body:
                    async for chunk in body.iter_chunked(CHUNK_BYTES):
                        await asyncio.to_thread(file.write, chunk)
                        size_bytes += len(chunk)
        except BROKEN as error:
            raise Unavailable(
                f"the snapshot broke off after {size_bytes} bytes ({reason(error)}): try again"
            ) from error
        return size_bytes
