"""A node that stops: what is under way is finished, what waits is answered, nothing new begins."""

import asyncio

import pytest
from callboard.api import server

from .conftest import SOON_S, until
from .test_http import answer, answers_in, request
from .test_watch import watch

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def no_drain_limit(monkeypatch):
    """What ends only because the time is over must not pass for what ended in order."""
    monkeypatch.setattr(server, "DRAIN_S", 3600.0)


def waiters(board):
    return board.registry._board.watches._waiters


async def test_blocking_reads_are_answered_at_once_and_watches_end(own_board):
    index = (await own_board("PUT", "/v1/services/web/instances/one")).index
    path = f"/v1/services/web/instances?index={index}&wait=600s"
    read = asyncio.create_task(own_board("GET", path))
    async with watch(own_board) as events:
        assert await events.snapshot() == ["one"]
        await until(lambda: waiters(own_board))
        async with asyncio.timeout(SOON_S):
            await own_board.server.close()
            assert [one["id"] for one in (await read).json["instances"]] == ["one"]
            assert await events.next() is None


async def test_idle_connections_are_closed_and_new_ones_refused(own_board):
    async with own_board.raw(request("GET", "/healthz")) as (reader, _):
        assert (await answer(reader))[0] == 200
        await own_board.server.close()
        async with asyncio.timeout(SOON_S):
            assert await reader.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(own_board.host, own_board.port)


async def test_a_write_under_way_is_finished(own_board):
    commit = own_board.engine.commit
    may_go_on = asyncio.Event()

    async def slow(operations, guard=None):
        await may_go_on.wait()
        return await commit(operations, guard)

    own_board.engine.commit = slow
    put = asyncio.create_task(own_board("PUT", "/v1/services/web/instances/one"))
    await own_board("GET", "/healthz")
    closing = asyncio.create_task(own_board.server.close())
    await until(lambda: own_board.server._draining)
    may_go_on.set()
    async with asyncio.timeout(SOON_S):
        assert (await put).status == 201
        await closing


async def test_what_arrives_meanwhile_is_told_to_ask_another(own_board):
    head = request("PUT", "/v1/kv/a", "Content-Length: 1")
    async with own_board.raw(head) as (reader, writer):
        await own_board("GET", "/healthz")
        closing = asyncio.create_task(own_board.server.close())
        await until(lambda: own_board.server._draining)
        writer.write(b"v")
        async with asyncio.timeout(SOON_S):
            data = await reader.read()
            await closing
    assert answers_in(data) == [503]
    assert b'"code":"shutting_down"' in data
    assert b"Retry-After: 1\r\n" in data


async def test_closing_twice_is_closing_once(own_board):
    await own_board.server.close()
    await own_board.server.close()
