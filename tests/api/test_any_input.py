"""Whatever comes, the answer is one of the contract's: never a 500, never silence."""

import asyncio

import pytest
from aiohttp import ClientError
from callboard.api.routes import ROUTES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import SOON_S
from .test_http import answers_in

EXAMPLES = 60
EXPECTED = {200, 201, 204, 400, 404, 405, 408, 409, 413, 415}
TRIED = [route for route in ROUTES if route.template not in ("/v1/watch", "/v1/snapshot")]
"""The other two have tests of their own: one never ends, one is about files."""

names = st.sampled_from(["web", "web-1", "default", "instances", "a" * 63, "a" * 64])
junk = st.text(max_size=20).map(lambda text: "".join(f"%{b:02x}" for b in _bytes(text)))
raw_bytes = st.binary(max_size=8).map(lambda data: "".join(f"%{byte:02x}" for byte in data))
parts = st.one_of(names, junk, raw_bytes, st.sampled_from(["..", ".", "", "%2F", "%00", "*"]))
texts = st.text(max_size=30) | st.sampled_from(["web", "15s", "10.0.0.1", "passing", "\x00", "é"])
fields = st.sampled_from(
    [
        *("service", "namespace", "id", "address", "port", "ports", "protocol", "tags", "meta"),
        *("node", "priority", "weight", "ttl", "status", "output", "expires_in", "create_index"),
        *("op", "operations", "instances", "name", "error"),
    ]
) | st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=12,
)
bodies = st.one_of(
    st.none(),
    st.binary(max_size=60),
    values,
    st.dictionaries(fields, values, max_size=6),
    st.lists(st.dictionaries(fields, values, max_size=5), max_size=3).map(
        lambda operations: {"operations": operations}
    ),
    st.lists(st.lists(texts, max_size=4), max_size=3).map(lambda rows: {"instances": rows}),
)
parameters = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("namespace", "consistency", "index", "wait", "passing", "tag", "meta.zone"),
                *("raw", "recurse", "keys", "separator", "flags", "cas", "ttl", "nobody"),
            ]
        ),
        st.sampled_from(["", "1", "0", "true", "false", "strong", "stale", "1ms", "/", "-1"])
        | junk,
    ),
    max_size=4,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))


def _bytes(text):
    return text.encode("utf-8", "surrogatepass")


bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("route", TRIED, ids=lambda route: f"{route.method} {route.template}")
@bounded
@given(data=st.data())
def test_no_call_ever_fails_for_what_was_sent(loop_and_board, route, data):
    runner, board = loop_and_board
    path = "/".join(
        data.draw(parts) if segment.startswith("{") else segment
        for segment in route.template.split("/")
    )
    query = data.draw(parameters)
    # An index with no wait of its own would wait for five minutes.
    query = f"?{query}&wait=1ms" if query else ""
    body = data.draw(bodies)
    answer = runner.run(_call(board, route.method, path + query, body))
    assert answer.status in EXPECTED, (answer.status, answer.body)
    if answer.status >= 400:
        assert answer.error


async def _call(board, method, path, body):
    try:
        return await board(method, path, body)
    except ClientError as error:
        raise AssertionError(f"no answer to {method} {path}") from error


heads = st.builds(
    lambda method, target, version, headers, body: b"".join(
        [method, b" ", target, b" ", version, b"\r\n", *headers, b"\r\n", body]
    ),
    st.sampled_from([b"GET", b"PUT", b"POST", b"DELETE", b"", b"G T", b"\x00"])
    | st.binary(max_size=5),
    st.sampled_from([b"/healthz", b"/v1/kv/a", b"*", b"", b"//", b"/v1/services?%", b"http://x/"])
    | st.binary(max_size=12),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/", b""]),
    st.lists(
        st.sampled_from(
            [
                *(b"Host: x\r\n", b"Content-Length: 3\r\n", b"Content-Length: x\r\n"),
                *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Expect: x\r\n"),
                *(b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n", b" fold\r\n", b": x\r\n"),
            ]
        )
        | st.binary(max_size=10),
        max_size=4,
    ),
    st.binary(max_size=12) | st.sampled_from([b"3\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n"]),
)


@settings(bounded, max_examples=300)
@given(data=heads | st.binary(max_size=40))
def test_no_bytes_on_a_connection_get_a_500_or_harm_the_next(loop_and_board, data):
    runner, board = loop_and_board
    statuses = runner.run(_bytes_then_end(board, data))
    assert all(status < 500 for status in statuses), (data, statuses)
    assert runner.run(board("GET", "/healthz")).status == 200


async def _bytes_then_end(board, data):
    """Send `data`, say that nothing follows, and read to the end."""
    async with board.raw(data) as (reader, writer):
        writer.write_eof()
        async with asyncio.timeout(SOON_S):
            return answers_in(await reader.read())
