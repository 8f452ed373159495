"""Long answers leave room for others: in the event loop, and in memory when their reader rests."""

import asyncio

import pytest
from aiohttp import ClientTimeout
from callboard.api import kv, services
from callboard.registry import catalog

from .conftest import SOON_S
from .test_http import request

pytestmark = pytest.mark.asyncio(loop_scope="session")

WEB = {"service": "web", "id": "i0"}
ITEMS = 1000
PER_PART = 10
BEATS_MIN = 5
"""Between a hundred parts of an answer; when nobody is let in between, there is one."""


async def batch(board, operations):
    done = await board("POST", "/v1/batch", {"operations": operations})
    assert {result["status"] for result in done.json["results"]} == {201}


@pytest.mark.parametrize(
    ("path", "tail"),
    [
        ("/v1/services/web/instances", b"]}"),
        ("/v1/services/web/instances?tag=none", b"]}"),
        ("/v1/services", b"}}"),
        ("/v1/kv/?recurse", b"}]"),
        ("/v1/kv/?keys", b'"]'),
        ("/v1/watch", b"\n\n"),
    ],
)
async def test_heartbeats_are_answered_while_a_long_answer_is_made(
    own_board, monkeypatch, path, tail
):
    monkeypatch.setattr(catalog, "PAGE_INSTANCES_MAX", PER_PART)
    monkeypatch.setattr(services, "SERVICES_PER_PART", PER_PART)
    monkeypatch.setattr(kv, "PAIRS_PER_PART", PER_PART)
    monkeypatch.setattr(kv, "KEYS_PER_PART", PER_PART)
    await batch(own_board, [{"op": "register", **name} for name in names(path)])
    if path.startswith("/v1/kv"):
        keys = (f"/v1/kv/{number}" for number in range(ITEMS))
        await asyncio.gather(*(own_board("PUT", key, b"v") for key in keys))
    reading = asyncio.create_task(_read_to(own_board, path, tail))
    beats = 0
    while not reading.done():
        await beat(own_board)
        beats += 1
    await reading
    assert beats >= BEATS_MIN


def names(path):
    """Of what makes an answer long; `web/i0` is always there."""
    if path == "/v1/services":
        return [{"service": f"s{n}", "id": "one"} for n in range(1, ITEMS)] + [WEB]
    if path.startswith("/v1/kv"):
        return [WEB]
    return [{**WEB, "id": f"i{n}"} for n in range(ITEMS)]


async def beat(board):
    assert (await board("PUT", "/v1/services/web/instances/i0/heartbeat")).status == 200


async def _read_to(board, path, tail):
    url = f"http://{board.host}:{board.port}{path}"
    async with board.session.get(url, timeout=ClientTimeout(SOON_S)) as got:
        assert got.status == 200
        end = b""
        async for chunk in got.content.iter_any():
            end = (end + chunk)[-len(tail) :]
            if end == tail and path == "/v1/watch":
                return
        assert end == tail


async def test_an_answer_waits_for_its_reader_and_nobody_else_does(own_board):
    """Pages of ten megabytes: the kernel takes one of them off our hands at most."""
    large = {"op": "register", **WEB, "meta": {f"k{n}": "v" * 512 for n in range(20)}}
    for start in (0, 700, 1400):
        await batch(own_board, [{**large, "id": f"i{n}"} for n in range(start, start + 700)])
    made = _pages_made(own_board)
    head = request("GET", "/v1/services/web/instances", "Connection: close")
    async with own_board.raw(head) as (reader, _):
        for _ in range(20):
            await beat(own_board)
        assert len(made) < 3
        async with asyncio.timeout(SOON_S):
            body = await reader.read()
    assert body.endswith(b"\r\n0\r\n\r\n")
    assert body.count(b'"create_index"') == 2100


def _pages_made(board):
    made = []
    listing = board.registry.listing

    def counted(topic):
        for page in listing(topic):
            made.append(len(page))
            yield page

    board.registry.listing = counted
    return made
