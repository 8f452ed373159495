"""Saving everything to a file and making the board what a file holds."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from ..registry import InvalidInput
from .call import Call, late
from .errors import ApiError, invalid, retry_later
from .responses import Response, answer, headers
from .streaming import begin, send

SNAPSHOT_BYTES_MAX: Final = 8 * 2**30
"""Several times a board of 10^7 instances: what is larger is no snapshot of ours."""
CHUNK_BYTES: Final = 256 * 1024
UPLOAD_S_MAX: Final = 30.0
"""Between two chunks of an upload; a client that has stopped must not hold the file."""
MEDIA_TYPE: Final = "application/vnd.sqlite3"


class RestoredAnswer(msgspec.Struct):
    index: int
    services: int
    instances: int


async def save(call: Call) -> web.StreamResponse:
    with _directory() as directory:
        path = Path(directory) / "board.snapshot"
        index = await call.registry.save(str(path))
        made = headers(call.registry, MEDIA_TYPE)
        made["X-Callboard-Index"] = str(index)
        made["Content-Length"] = str(path.stat().st_size)
        made["Content-Disposition"] = f'attachment; filename="callboard-{index}.snapshot"'
        response = await begin(call, made)
        if call.request.method == "HEAD":
            return response
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                await send(call, response, chunk)
        return response


async def restore(call: Call) -> Response:
    with _directory() as directory:
        path = Path(directory) / "board.snapshot"
        await _receive(call, path)
        try:
            index = await call.registry.restore(str(path))
        except InvalidInput as error:
            raise invalid("body", error.message.replace(str(path), "what was sent")) from error
    registry = call.registry
    return answer(registry, RestoredAnswer(index, registry.service_count, registry.instance_count))


def _directory() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="callboard-snapshot-")
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> ApiError:
    place = tempfile.tempdir or "the temporary directory"
    text = f"the snapshot cannot be kept in {place}: {error.strerror}; make room there"
    return retry_later("no_quorum", text)


async def _receive(call: Call, path: Path) -> None:
    try:
        with path.open("wb") as file:
            async for chunk in _uploaded(call):
                await asyncio.to_thread(file.write, chunk)
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        raise _no_room(error) from error


async def _uploaded(call: Call) -> AsyncIterator[bytes]:
    size_bytes = call.request.content_length or 0
    received_bytes = 0
    call.expect_body()
    while size_bytes <= SNAPSHOT_BYTES_MAX and received_bytes <= SNAPSHOT_BYTES_MAX:
        try:
            async with asyncio.timeout(UPLOAD_S_MAX):
                chunk = await call.request.content.read(CHUNK_BYTES)
        except TimeoutError as error:
            raise late("the snapshot did not arrive; send it again") from error
        except web.RequestPayloadError as error:
            raise invalid("body", f"the snapshot breaks off: {error}") from error
        if not chunk:
            return
        received_bytes += len(chunk)
        yield chunk
    raise ApiError(413, "too_large", f"a snapshot has at most {SNAPSHOT_BYTES_MAX} bytes", "body")
