"""The KV store as Consul's clients use it."""

import base64

import pytest
from callboard.api import kv
from callboard.registry.kv import VALUE_BYTES_MAX

from .conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def path(service):
    return f"/v1/kv/{service}"


async def test_a_value_comes_back_as_consul_shows_it(board, path, service):
    put = await board("PUT", f"{path}?flags=42", b"\x00\xffblue")
    assert (put.status, put.body, put.headers["Content-Type"]) == (200, b"true", "application/json")
    got = await board("GET", path)
    assert got.index == put.index
    assert list(got.json[0].items()) == [
        ("LockIndex", 0),
        ("Key", service),
        ("Flags", 42),
        ("Value", base64.b64encode(b"\x00\xffblue").decode()),
        ("CreateIndex", put.index),
        ("ModifyIndex", put.index),
    ]
    await board("PUT", path, b"green")
    again = (await board("GET", path)).json[0]
    assert (again["Flags"], again["CreateIndex"]) == (0, put.index)
    assert again["ModifyIndex"] > put.index


async def test_raw_is_the_value_and_can_never_be_a_page(board, path):
    value = b"<script>alert(1)</script>"
    await board("PUT", path, value, headers={"Content-Type": "text/html"})
    got = await board("GET", f"{path}?raw")
    assert got.body == value
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.index > 0


async def test_an_empty_value_is_null(board, path):
    assert (await board("PUT", path)).body == b"true"
    assert (await board("GET", path)).json[0]["Value"] is None
    assert (await board("GET", f"{path}?raw")).body == b""


async def test_an_absent_key_is_404_with_the_index(board, path):
    for query in ("", "?raw", "?recurse", "?keys"):
        got = await board("GET", path + query)
        assert got.error == (404, "unknown_key", None)
        assert got.headers["X-Consul-Index"] == str(max(got.index, 1))


async def test_reads_carry_the_index_that_consuls_clients_wait_with(board, path):
    index = (await board("PUT", path, b"1")).index
    for query in ("", "?raw", "?recurse=1", "?keys=True", "?index=1&wait=10s"):
        got = await board("GET", path + query)
        assert (got.status, got.headers["X-Consul-Index"]) == (200, str(index))


async def test_an_empty_board_has_an_index_that_consuls_clients_take_for_one(own_board, path):
    got = await own_board("GET", path)
    assert (got.index, got.headers["X-Consul-Index"]) == (0, "1")


async def test_consuls_ways_to_ask_for_consistency_are_understood(own_board, path):
    await own_board("PUT", path, b"1")
    confirmed = []
    confirm = own_board.engine.confirm

    async def counted():
        confirmed.append(1)
        return await confirm()

    own_board.engine.confirm = counted
    own_board.engine.staleness_ms = lambda: 5001.0
    assert (await own_board("GET", path)).error == (503, "too_stale", None)
    assert (await own_board("GET", f"{path}?stale=")).status == 200
    assert not confirmed
    for query in ("?consistent", "?consistent=1&stale"):
        assert (await own_board("GET", path + query)).status == 200
    assert len(confirmed) == 2


@pytest.mark.parametrize("lock", ["acquire", "release"])
async def test_nobody_is_told_to_hold_a_lock(board, path, lock):
    refused = await board("PUT", f"{path}?{lock}=5b1c", b"mine")
    assert refused.error == (400, "invalid_input", lock)
    assert (await board("GET", path)).status == 404


async def test_cas_stores_only_what_was_not_changed_meanwhile(board, path):
    assert (await board("PUT", f"{path}?cas=0", b"1")).body == b"true"
    lost = await board("PUT", f"{path}?cas=0", b"2")
    assert (lost.status, lost.body) == (200, b"false")
    index = (await board("GET", path)).json[0]["ModifyIndex"]
    assert (await board("PUT", f"{path}?cas={index - 1}", b"2")).body == b"false"
    assert (await board("PUT", f"{path}?cas={index}", b"3")).body == b"true"
    assert (await board("DELETE", f"{path}?cas={index}")).body == b"false"
    index = (await board("GET", path)).json[0]["ModifyIndex"]
    gone = await board("DELETE", f"{path}?cas={index}")
    assert (gone.status, gone.body) == (200, b"true")
    assert (await board("GET", path)).status == 404


async def test_deleting_is_true_whether_or_not_it_was_there(board, path):
    await board("PUT", path, b"1")
    for _ in range(2):
        gone = await board("DELETE", path)
        assert (gone.status, gone.body) == (200, b"true")


async def test_prefixes_are_listed_and_deleted(board, path, service):
    for key in ("a", "dir/b", "dir/sub/c", "other"):
        await board("PUT", f"{path}/{key}", key.encode())
    keys = [f"{service}/{key}" for key in ("a", "dir/b", "dir/sub/c", "other")]
    assert (await board("GET", f"{path}/?keys")).json == keys
    folded = [f"{service}/a", f"{service}/dir/", f"{service}/other"]
    assert (await board("GET", f"{path}/?keys&separator=/")).json == folded
    below = await board("GET", f"{path}/dir/?recurse")
    assert [pair["Key"] for pair in below.json] == keys[1:3]
    assert service in {key.split("/")[0] for key in (await board("GET", "/v1/kv/?keys")).json}
    assert (await board("DELETE", f"{path}/dir/?recurse=")).body == b"true"
    assert (await board("GET", f"{path}/?keys")).json == [keys[0], keys[3]]


async def test_a_long_listing_is_whole(board, path, service, monkeypatch):
    for n in range(200):
        await board("PUT", f"{path}/{n:03}", b"v")
    got = await board("GET", f"{path}/?recurse")
    keys = [f"{service}/{n:03}" for n in range(200)]
    assert [pair["Key"] for pair in got.json] == keys
    monkeypatch.setattr(kv, "KEYS_PER_PART", 7)
    assert (await board("GET", f"{path}/?keys")).json == keys


@pytest.mark.parametrize(
    ("quoted", "key"),
    [
        *(("a%2Fb", "a/b"), ("a%20b", "a b"), ("%C3%A9", "é"), ("a+b", "a+b"), ("a/", "a/")),
        *(("a//b", "a//b"), ("..", ".."), ("%2e%2e/x", "../x"), ("a;b=c", "a;b=c")),
        *(("A", "A"), ("%25", "%")),
    ],
)
async def test_a_key_is_the_rest_of_the_path_decoded_once(board, path, service, quoted, key):
    await board("PUT", f"{path}/{quoted}", b"v")
    assert (await board("GET", f"{path}/{quoted}")).json[0]["Key"] == f"{service}/{key}"


async def test_keys_have_a_limit(board):
    assert (await board("PUT", "/v1/kv/" + "k" * 512, b"v")).body == b"true"
    assert (await board("PUT", "/v1/kv/" + "k" * 513, b"v")).error == (400, "invalid_input", "key")
    assert (await board("PUT", "/v1/kv/" + "%C3%A9" * 257)).error == (400, "invalid_input", "key")
    for method in ("GET", "PUT", "DELETE"):
        assert (await board(method, "/v1/kv/")).error == (400, "invalid_input", "key")
    assert (await board("PUT", "/v1/kv/" + "a/" * 200 + "b", b"v")).body == b"true"


@pytest.mark.parametrize("key", ["%00", "a%0a", "a%7fb", "%c2%80", "%ff", "%ed%a0%80"])
async def test_keys_with_control_characters_or_no_utf_8_are_refused(board, path, key):
    assert (await board("PUT", f"{path}/{key}", b"v")).error == (400, "invalid_input", "path")


async def test_values_have_a_limit_however_they_are_sent(board, path):
    async def chunks(size_bytes):
        for _ in range(size_bytes // 1024):
            yield b"v" * 1024
        yield b"v" * (size_bytes % 1024)

    for size_bytes, status in {VALUE_BYTES_MAX: 200, VALUE_BYTES_MAX + 1: 413}.items():
        assert (await board("PUT", path, b"v" * size_bytes)).status == status
        url = f"http://{board.host}:{board.port}{path}"
        async with board.session.put(url, data=chunks(size_bytes)) as got:
            assert got.status == status
    assert len((await board("GET", f"{path}?raw")).body) == VALUE_BYTES_MAX


@pytest.mark.parametrize("name", ["flags", "cas"])
async def test_malformed_numbers_are_named(board, path, name):
    for value in ("x", "-1", "", "1.5", "9" * 21):
        assert (await board("PUT", f"{path}?{name}={value}")).error == (400, "invalid_input", name)


async def test_flags_have_64_bits(board, path):
    assert (await board("PUT", f"{path}?flags={2**64 - 1}")).body == b"true"
    assert (await board("GET", path)).json[0]["Flags"] == 2**64 - 1
    assert (await board("PUT", f"{path}?flags={2**64}")).error == (400, "invalid_input", "flags")


async def test_a_key_with_a_ttl_goes_when_it_is_not_stored_again(own_board, path):
    assert (await own_board("PUT", f"{path}?ttl=10s", b"v")).body == b"true"
    own_board.clock.now_s += 9
    await own_board("PUT", f"{path}?ttl=10s", b"v")
    own_board.clock.now_s += 9
    assert (await own_board("GET", path)).status == 200
    own_board.clock.now_s += 2
    await until(lambda: own_board.registry.kv_count == 0)
    assert (await own_board("GET", path)).status == 404
    assert (await own_board("PUT", f"{path}?ttl=soon")).error == (400, "invalid_input", "ttl")
