"""Ending background tasks so that neither a task nor its failure is left behind."""

import asyncio


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Raises what the task failed with before: a bug of ours, never an expected failure."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
