"""The API of a node that is not ready yet."""

import asyncio

import pytest
import pytest_asyncio
from callboard.api import ApiAddress, ApiConfig, ApiServer, Starting

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def starting():
    address = ApiAddress(ApiConfig("127.0.0.1", 0))
    made = Starting(address)
    await made.start()
    yield made, address
    await made.close()
    address.close()


async def test_it_lives_and_says_what_it_waits_for(starting, own_board):
    made, address = starting
    url = f"http://127.0.0.1:{address.port}"
    made.waits_for = "a sign"
    async with own_board.session.get(f"{url}/healthz?verbose") as got:
        assert (got.status, await got.json()) == (200, {"status": "alive"})
    for method, path in (("GET", "/readyz"), ("PUT", "/v1/kv/a"), ("GET", "/v1/status")):
        async with own_board.session.request(method, url + path) as got:
            assert got.status == 503
            assert got.headers["Retry-After"] == "1"
            assert got.headers["X-Callboard-Index"] == "0"
            assert got.headers["Connection"] == "close"
            error = (await got.json())["error"]
            assert error["code"] == "no_quorum"
            assert "it waits for a sign" in error["message"]


async def test_who_connects_between_it_and_the_node_that_serves_is_served(starting, own_board):
    made, address = starting
    await made.close()
    server = ApiServer(own_board.registry, address)
    reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: callboard\r\nConnection: close\r\n\r\n")
    try:
        await server.start()
        assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 200 ")
    finally:
        writer.close()
        await server.close()
