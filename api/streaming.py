"""Long answers in parts, so that a million services neither fill the memory nor block others."""

import asyncio
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from .answers import JSON, headers
from .call import Call

SEND_S_MAX: Final = 30.0
"""A reader that takes nothing for this long has gone, or is holding memory on purpose."""


async def stream(
    call: Call, head: bytes, parts: Iterable[bytes], tail: bytes
) -> web.StreamResponse:
    """Send JSON as `head`, comma-separated `parts` and `tail`; empty parts are left out.

    The index in the header is that of the beginning: what changes while it is read may or may
    not be in it, and comes with the next blocking read.
    """
    response = web.StreamResponse(headers=headers(call.registry, JSON))
    await response.prepare(call.request)
    await send(response, head)
    separator = b""
    for part in parts:
        if part:
            await send(response, separator + part)
            separator = b","
        await asyncio.sleep(0)
    await send(response, tail)
    await response.write_eof()
    return response


async def send(response: web.StreamResponse, data: bytes) -> None:
    """Write and wait for the reader. Raises `ConnectionError` when it takes nothing."""
    try:
        async with asyncio.timeout(SEND_S_MAX):
            await response.write(data)
    except TimeoutError as error:
        raise ConnectionResetError("the reader takes nothing") from error
