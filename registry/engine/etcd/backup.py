"""A snapshot file of the board in an etcd, of the same format as every other."""

import asyncio

from ..seam import EngineError, Refused
from ..snapshot import SnapshotWriter
from .loading import Loader


async def write_backup(loader: Loader, path: str) -> int:
    """Write a consistent copy to a new file; the revision it holds. Raises `Refused`."""
    writer = await asyncio.to_thread(SnapshotWriter, path)
    try:
        revision, pages = await loader.load()
        async for page in pages:
            await asyncio.to_thread(writer.add, page)
        await asyncio.to_thread(writer.finish, revision)
    except EngineError as error:
        await asyncio.to_thread(writer.give_up)
        raise error if isinstance(error, Refused) else Refused(str(error)) from error
    except BaseException:
        writer.give_up()
        raise
    return revision
