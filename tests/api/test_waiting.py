"""Where one waits from, at the edges: an empty board, and an index of another board."""

import asyncio

import pytest

from .conftest import SOON_S, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def begun(board):
    """Wait until the registry is asked to wait."""
    await until(lambda: board.registry._board.watches._waiters)


@pytest.mark.parametrize("index", [0, 1, 1_000_000])
@pytest.mark.parametrize("path", ["/v1/services", "/v1/kv/a"])
async def test_on_an_empty_board_the_first_change_is_waited_for(own_board, path, index):
    """0 is what our header says there, 1 what Consul's says: neither may make a busy loop."""
    read = asyncio.create_task(own_board("GET", f"{path}?index={index}&wait=60s"))
    await begun(own_board)
    assert not read.done()
    await own_board("PUT", "/v1/services/web/instances/one", {"address": "10.0.0.1"})
    await own_board("PUT", "/v1/kv/a", b"1")
    async with asyncio.timeout(SOON_S):
        got = await read
    assert got.status == 200
    assert got.index > 0


async def test_an_index_of_a_larger_board_waits_for_the_next_change(own_board):
    await own_board("PUT", "/v1/kv/a", b"1")
    read = asyncio.create_task(own_board("GET", "/v1/kv/a?index=1000000&wait=60s"))
    await begun(own_board)
    await own_board("PUT", "/v1/kv/a", b"2")
    async with asyncio.timeout(SOON_S):
        assert (await read).json[0]["ModifyIndex"] == 2


async def test_one_instance_is_not_woken_for_its_neighbours(own_board):
    path = "/v1/services/web/instances"
    await own_board("PUT", f"{path}/one", {"address": "10.0.0.1"})
    index = (await own_board("PUT", f"{path}/two", {"address": "10.0.0.2"})).index
    read = asyncio.create_task(own_board("GET", f"{path}/one?index={index}&wait=60s"))
    await begun(own_board)
    for port in (1, 2, 3):
        await own_board("PUT", f"{path}/two", {"address": "10.0.0.2", "port": port})
    assert not read.done()
    await begun(own_board)
    await own_board("PUT", f"{path}/one", {"address": "10.0.0.3"})
    async with asyncio.timeout(SOON_S):
        assert (await read).json["address"] == "10.0.0.3"


async def test_one_instance_that_goes_is_told(own_board):
    path = "/v1/services/web/instances/one"
    index = (await own_board("PUT", path, {"address": "10.0.0.1"})).index
    read = asyncio.create_task(own_board("GET", f"{path}?index={index}&wait=60s"))
    await begun(own_board)
    await own_board("DELETE", path)
    async with asyncio.timeout(SOON_S):
        assert (await read).status == 404


async def test_one_unchanged_instance_is_answered_when_time_is_up(own_board):
    path = "/v1/services/web/instances"
    index = (await own_board("PUT", f"{path}/one", {"address": "10.0.0.1"})).index
    read = asyncio.create_task(own_board("GET", f"{path}/one?index={index}&wait=200ms"))
    await own_board("PUT", f"{path}/two", {"address": "10.0.0.2"})
    async with asyncio.timeout(SOON_S):
        assert (await read).json["modify_index"] == index
