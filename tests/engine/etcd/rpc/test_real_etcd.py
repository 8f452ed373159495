"""Calls to etcd itself, over TCP."""

import asyncio
import signal

import pytest
from callboard.registry.engine.etcd.callboard_etcd_pb2 import (
    RangeRequest,
    RangeResponse,
    TxnRequest,
    TxnResponse,
    WatchRequest,
    WatchResponse,
)
from callboard.registry.engine.etcd.methods import RANGE, TXN, WATCH
from callboard.registry.engine.etcd.rpc import Channel, NotSent, RpcError, StatusCode, Target

pytestmark = pytest.mark.foreign("etcd", "etcdctl")

CALL_S = 10.0


@pytest.fixture
async def to():
    """`to(member)`: a channel that is closed after the test."""
    channels = []

    def connect(member):
        host, _, port = member.url.removeprefix("http://").rpartition(":")
        channels.append(Channel(Target(host, int(port))))
        return channels[-1]

    yield connect
    for one in channels:
        await one.close()


async def put(one, key, value):
    request = TxnRequest()
    operation = request.success.add().request_put
    operation.key, operation.value = key, value
    return TxnResponse.FromString(await one.call(TXN.path, (), request.SerializeToString(), CALL_S))


async def get(one, key):
    request = RangeRequest(key=key).SerializeToString()
    [pair] = RangeResponse.FromString(await one.call(RANGE.path, (), request, CALL_S)).kvs
    return pair.value


async def test_what_is_put_is_got_small_and_larger_than_the_windows(etcd, to):
    one = to(etcd)
    for key, value in ((b"rpc/small", b"v"), (b"rpc/large", bytes(range(256)) * 4096)):
        assert (await put(one, key, value)).succeeded
        assert await get(one, key) == value


async def test_many_calls_at_once_each_get_their_own_answer(etcd, to):
    one = to(etcd)
    keys = [b"rpc/many/%d" % number for number in range(100)]
    await asyncio.gather(*(put(one, key, key) for key in keys))
    assert await asyncio.gather(*(get(one, key) for key in keys)) == keys


async def test_errors_have_their_code_and_their_words(start_etcd, to):
    one = to(start_etcd("--max-request-bytes", "10000"))
    with pytest.raises(RpcError, match="too large") as failed:
        await put(one, b"key", bytes(20_000))
    assert failed.value.code == StatusCode.INVALID_ARGUMENT
    with pytest.raises(RpcError) as failed:
        await one.call("/etcdserverpb.KV/Nothing", (), b"", CALL_S)
    assert failed.value.code == StatusCode.UNIMPLEMENTED
    assert (await put(one, b"key", b"small")).succeeded


async def test_a_server_that_allows_few_calls_at_once_answers_them_in_turn(start_etcd, to):
    one = to(start_etcd("--max-concurrent-streams", "2"))
    for _ in range(6):
        assert (await put(one, b"key", b"value")).succeeded


async def test_a_watch_hears_changes_until_its_member_is_stopped(start_etcd, to, until):
    member = start_etcd()
    one, told = to(member), []

    def take(payload):
        told.append(WatchResponse.FromString(payload))

    request = WatchRequest()
    request.create_request.key = b"key"
    async with one.stream(WATCH.path, (), request.SerializeToString(), take) as stream:
        await until(lambda: told)
        assert told[0].created
        await put(one, b"key", b"value")
        await until(lambda: len(told) > 1)
        assert [event.kv.value for event in told[1].events] == [b"value"]
        await asyncio.to_thread(member.stop, signal.SIGTERM)
        with pytest.raises(RpcError) as failed:
            async with asyncio.timeout(CALL_S):
                await stream.end
    assert failed.value.code == StatusCode.UNAVAILABLE
    with pytest.raises(NotSent):
        await get(one, b"key")
    member.start().wait_ready()
    assert await get(one, b"key") == b"value"
