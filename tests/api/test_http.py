"""HTTP itself: methods, paths, media types, bodies that come slowly or never, limits."""

import asyncio
import json
import socket

import pytest
from callboard.api import ApiAddress, ApiConfig, ApiServer, CannotListen, call, responses
from callboard.registry import ServiceSummary

from .conftest import SOON_S, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

GETS = ["/v1/services", "/v1/services/web/instances", "/v1/watch", "/v1/status", "/healthz"]
GETS += ["/v1/cluster/members", "/v1/snapshot", "/readyz", "/metrics", "/openapi.json", "/docs"]


def request(method, path, *lines, body=b""):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode() + body


async def answer(reader):
    """(status, headers in lower case, body) of one answer."""
    async with asyncio.timeout(SOON_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), headers, body


def answers_in(data):
    """The statuses in everything that a connection carried."""
    return [int(part.split()[0]) for part in data.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("path", GETS)
async def test_head_is_get_without_the_body(board, path):
    async with board.raw(request("HEAD", path), request("GET", "/healthz")) as (reader, _):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 ")
        assert "X-Callboard-Index: " in head
        async with asyncio.timeout(SOON_S):
            following = await reader.readuntil(b"\r\n")
    assert following == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("path", GETS)
async def test_every_answer_carries_the_index_and_the_staleness(board, path):
    async with board.raw(request("GET", path)) as (reader, _):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    for name in ("X-Callboard-Index", "X-Callboard-Staleness-Ms", "Date", "Server"):
        assert head.count(f"\r\n{name}: ") == 1, name


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/services", "GET, HEAD, OPTIONS"),
        ("/v1/services/web/instances", "GET, HEAD, POST, OPTIONS"),
        ("/v1/services/web/instances/one", "DELETE, GET, HEAD, PUT, OPTIONS"),
        ("/v1/services/web/instances/one/heartbeat", "PUT, OPTIONS"),
        ("/v1/kv/a/b", "DELETE, GET, HEAD, PUT, OPTIONS"),
        ("/v1/batch", "POST, OPTIONS"),
    ],
)
async def test_what_cannot_be_done_says_what_can(board, path, allowed):
    refused = await board("PATCH", path)
    assert refused.error == (405, "method_not_allowed", None)
    assert set(refused.headers["Allow"].split(", ")) == set(allowed.split(", "))
    options = await board("OPTIONS", path)
    assert (options.status, options.body) == (204, b"")
    assert options.headers["Allow"] == refused.headers["Allow"]


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1", "/v1/", "/v2/services", "/v1/services/", "/v1/services/web", "//"),
        *("/v1//services", "/healthz/", "/v1/services/web/instances/one/", "/V1/services"),
        "/v1/../etc/passwd",
    ],
)
async def test_there_is_nothing_under_other_paths(board, path):
    for method in ("GET", "PUT", "OPTIONS"):
        refused = await board(method, path)
        assert refused.status == 404
    assert (await board("GET", path)).error == (404, "not_found", None)


async def test_an_absolute_target_is_taken_as_rfc_9112_demands(board):
    for target in ("http://x/healthz", "http://x:8500/healthz?a=1"):
        async with board.raw(request("GET", target)) as (reader, _):
            assert (await answer(reader))[0] == 200


@pytest.mark.parametrize(
    "media_type",
    [
        *(None, "application/json", "application/json; charset=utf-8", "APPLICATION/JSON"),
        *("application/x-www-form-urlencoded", "application/merge-patch+json", "text/json"),
    ],
)
async def test_json_is_taken_under_any_honest_name(board, service, media_type):
    headers = {} if media_type is None else {"Content-Type": media_type}
    path = f"/v1/services/{service}/instances/one"
    assert (await board("PUT", path, {"port": 1}, headers=headers)).status == 201


@pytest.mark.parametrize(
    "media_type", ["text/xml", "text/plain", "multipart/form-data", "image/png"]
)
async def test_what_says_to_be_something_else_is_415(board, service, media_type):
    path = f"/v1/services/{service}/instances/one"
    refused = await board("PUT", path, {"port": 1}, headers={"Content-Type": media_type})
    assert refused.error == (415, "unsupported_media_type", None)


async def test_a_packed_body_is_415(board, service):
    path = f"/v1/services/{service}/instances/one"
    refused = await board("PUT", path, b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert refused.status == 415


async def test_a_body_that_is_more_than_chunked_is_415(board, service):
    """aiohttp would hand us the packed bytes as if they were the value."""
    head = request("PUT", f"/v1/kv/{service}", "Transfer-Encoding: gzip, chunked")
    async with board.raw(head, b"2\r\n\x1f\x8b\r\n0\r\n\r\n") as (reader, _):
        assert (await answer(reader))[0] == 415
    assert (await board("GET", f"/v1/kv/{service}")).status == 404


async def test_a_client_that_asks_first_is_told_to_go_on(board, service):
    path = f"/v1/services/{service}/instances/one"
    head = request("PUT", path, "Content-Length: 2", "Expect: 100-continue")
    async with board.raw(head) as (reader, writer):
        async with asyncio.timeout(SOON_S):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await answer(reader))[0] == 201


async def test_a_client_that_asks_first_is_told_at_once_when_it_is_too_much(board):
    head = request("PUT", "/v1/kv/a", "Content-Length: 600000", "Expect: 100-continue")
    async with board.raw(head) as (reader, _):
        assert (await answer(reader))[0] == 413


async def test_a_body_may_come_byte_by_byte(board, service):
    body = b'{"port": 8080}'
    head = request("PUT", f"/v1/services/{service}/instances/one", f"Content-Length: {len(body)}")
    async with board.raw() as (reader, writer):
        for byte in head + body:
            writer.write(bytes((byte,)))
            await writer.drain()
        assert (await answer(reader))[0] == 201


async def test_a_chunked_body_is_stopped_at_the_limit_not_at_its_end(board, service):
    head = request("PUT", f"/v1/services/{service}/instances/one", "Transfer-Encoding: chunked")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    async with board.raw(head, chunk, chunk) as (reader, _):
        assert (await answer(reader))[0] == 413


async def test_pipelined_calls_are_answered_in_order(board, service):
    path = f"/v1/kv/{service}"
    calls = [request("PUT", path, "Content-Length: 1", body=b"%d" % n) for n in range(9)]
    calls.append(request("GET", f"{path}?raw", "Connection: close"))
    data = await board.exchange(*calls)
    assert answers_in(data) == [200] * 10
    assert data.endswith(b"\r\n\r\n8")


async def test_http_1_0_is_answered_and_closed_unless_it_asks_to_be_kept(board):
    data = await board.exchange(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert b"Connection: close\r\n" in data
    async with board.raw(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2) as (
        reader,
        _,
    ):
        for _ in range(2):
            status, headers, _ = await answer(reader)
            assert (status, headers["connection"]) == (200, "keep-alive")


async def test_an_answer_without_a_length_ends_with_its_connection_in_http_1_0(board):
    for path in ("/v1/services", "/v1/kv/?keys"):
        await board("PUT", "/v1/kv/one", b"v")
        data = await board.exchange(
            f"GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode()
        )
        json.loads(data.partition(b"\r\n\r\n")[2])
        assert b"keep-alive" not in data


async def test_an_offer_to_upgrade_is_declined_and_the_call_answered(board):
    offers = [("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")]
    offers.append(("Connection: Upgrade", "Upgrade: websocket"))
    for offer in offers:
        async with board.raw() as (reader, writer):
            for _ in range(2):
                head = request("PUT", "/v1/kv/upgrade", *offer, "Content-Length: 1")
                writer.write(head + b"v")
                assert (await answer(reader))[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded: b\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked"
        b"\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n",
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 10_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    ],
    ids=lambda data: repr(data[:44]),
)
async def test_what_is_no_http_is_a_400_of_ours_and_the_end_of_the_connection(board, data):
    got = await board.exchange(data)
    assert answers_in(got) == [400]
    head, _, body = got.partition(b"\r\n\r\n")
    assert json.loads(body)["error"]["code"] == "bad_request"
    assert b"X-Callboard-Index: " in head


async def test_a_broken_chunk_is_a_400(board):
    head = request("PUT", "/v1/kv/a", "Transfer-Encoding: chunked")
    assert answers_in(await board.exchange(head, b"zz\r\nabc\r\n")) == [400]


async def test_a_client_that_says_nothing_is_left(own_board):
    own_board.limits.first_header_s = 0.05
    assert await own_board.exchange() == b""
    assert await own_board.exchange(b"GET /healthz HT") == b""


async def test_a_client_that_does_not_finish_its_body_is_told_and_left(own_board, monkeypatch):
    monkeypatch.setattr(call, "BODY_S_MAX", 0.05)
    own_board.limits._kwargs["lingering_time"] = 0.0
    head = request("PUT", "/v1/services/web/instances/one", "Content-Length: 10")
    got = await own_board.exchange(head, b"{")
    assert answers_in(got) == [408]
    assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["code"] == "timeout"
    assert b"Connection: close\r\n" in got


async def test_a_client_that_leaves_in_its_body_registers_nothing(own_board):
    head = request("PUT", "/v1/services/web/instances/one", "Content-Length: 10")
    async with own_board.raw(head, b"{"):
        await own_board("GET", "/healthz")
    assert (await own_board("GET", "/v1/services")).json == {"services": {}}


async def test_an_idle_connection_is_closed(own_board):
    own_board.limits._kwargs["keepalive_timeout"] = 0.05
    assert answers_in(await own_board.exchange(request("GET", "/healthz"))) == [200]


async def test_a_client_that_dribbles_its_next_header_is_left_like_an_idle_one(own_board):
    own_board.limits._kwargs["keepalive_timeout"] = 0.05
    data = await own_board.exchange(request("GET", "/healthz"), b"GET /healthz HTTP/1.1\r\nHo")
    assert answers_in(data) == [200]


async def test_connections_over_the_limit_are_refused_and_the_others_served(own_board):
    own_board.limits.connections_max = len(own_board.limits.connections) + 1
    async with own_board.raw(request("GET", "/healthz")) as (reader, writer):
        assert (await answer(reader))[0] == 200
        assert await own_board.exchange() == b""
        writer.write(request("GET", "/healthz"))
        assert (await answer(reader))[0] == 200


async def test_a_reader_that_takes_nothing_is_cut_off(own_board, monkeypatch):
    monkeypatch.setattr(responses, "SEND_S_MAX", 0.05)
    await own_board("PUT", "/v1/kv/large", b"v" * 500_000)
    with socket.create_connection((own_board.host, own_board.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(deaf, request("GET", "/v1/kv/large") * 30)
        await until(lambda: len(own_board.limits.connections) == 2)
        await until(lambda: len(own_board.limits.connections) == 1)
    assert (await own_board("GET", "/healthz")).status == 200


async def test_a_defect_is_a_500_that_is_logged_once_and_harms_nobody_else(own_board, caplog):
    def broken(name):
        raise RuntimeError("of our own making")

    own_board.registry.instance = broken
    refused = await own_board("GET", "/v1/services/web/instances/one")
    assert refused.error == (500, "internal", None)
    assert "own making" not in refused.body.decode()
    assert [record.name for record in caplog.records] == ["callboard.api"]
    assert "of our own making" in caplog.text
    assert (await own_board("GET", "/healthz")).status == 200


async def test_a_defect_in_the_middle_of_an_answer_cuts_it_off(own_board, caplog):
    def broken(namespace):
        yield ServiceSummary("web", 1, 1, [])
        raise RuntimeError("of our own making")

    own_board.registry.services = broken
    got = await own_board.exchange(request("GET", "/v1/services"))
    assert answers_in(got) == [200]
    assert not got.endswith(b"0\r\n\r\n"), "what is cut off must not look whole"
    assert len(caplog.records) == 1


async def test_a_taken_port_is_one_clear_line(own_board):
    with pytest.raises(CannotListen, match=f"{own_board.port}.*--http"):
        ApiAddress(ApiConfig(own_board.host, own_board.port))


async def test_it_listens_on_ipv6_and_shows_its_callers_address(own_board):
    address = ApiAddress(ApiConfig("::1", 0))
    server = ApiServer(own_board.registry, address)
    await server.start()
    try:
        url = f"http://[::1]:{address.port}/v1/services/web/instances/one"
        async with own_board.session.put(url) as got:
            assert (await got.json())["address"] == "::1"
    finally:
        await server.close()
