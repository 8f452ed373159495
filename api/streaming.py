"""Long answers in parts, so that a million services neither fill the memory nor block others."""

import asyncio
from collections.abc import Iterable

from aiohttp import web

from .call import Call
from .responses import JSON, headers, taken


async def begin(call: Call, made: dict[str, str]) -> web.StreamResponse:
    """Send the head of an answer; from here on an error can only cut it off."""
    response = web.StreamResponse(headers=made)
    if call.request.version < (1, 1) and "Content-Length" not in made:
        response.force_close()  # HTTP/1.0 knows no chunks: only the end of the connection ends it
    call.answering = True
    await response.prepare(call.request)
    return response


async def stream(
    call: Call,
    head: bytes,
    parts: Iterable[bytes],
    tail: bytes,
    extra: dict[str, str] | None = None,
) -> web.StreamResponse:
    """Send JSON as `head`, comma-separated `parts` and `tail`; empty parts are left out.

    The index in the header is that of the beginning: what changes while it is read may or may
    not be in it, and comes with the next blocking read.
    """
    response = await begin(call, headers(call.registry, JSON) | (extra or {}))
    if call.request.method == "HEAD":
        return response
    await send(call, response, head)
    separator = b""
    for part in parts:
        if part:
            await send(call, response, separator + part)
            separator = b","
        await asyncio.sleep(0)
    await send(call, response, tail)
    return response


async def send(call: Call, response: web.StreamResponse, data: bytes) -> None:
    """Write and wait for the reader. Raises `ConnectionError` when it has gone or sleeps."""
    await taken(call.request, response.write(data))
