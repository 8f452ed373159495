"""What a call makes of its answer, without an etcd."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from callboard.registry.engine import OutcomeUnknown
from callboard.registry.engine.etcd import EtcdSettings
from callboard.registry.engine.etcd.callboard_etcd_pb2 import TxnRequest, WatchRequest
from callboard.registry.engine.etcd.connection import Connection
from callboard.registry.engine.etcd.methods import TXN, WATCH
from callboard.registry.engine.etcd.rpc import RpcError, Stream

UNREADABLE = b"\xff"


class Babbling:
    """A channel to a server that speaks gRPC, and something else in it."""

    async def call(self, path, metadata, message, timeout_s):
        return UNREADABLE

    @asynccontextmanager
    async def stream(self, path, metadata, message, take):
        stream = Stream(take)
        asyncio.get_running_loop().call_soon(stream.message, UNREADABLE)
        yield stream


@pytest.fixture
def connection():
    one = Connection(EtcdSettings(endpoints=("http://127.0.0.1:1",)))
    one.endpoint.channel = Babbling()
    return one


async def test_a_write_whose_answer_cannot_be_read_may_be_done(connection):
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        await connection.call(TXN, TxnRequest())


async def test_a_watch_that_cannot_be_read_breaks_off(connection):
    request = WatchRequest()
    async with connection.stream(connection.endpoint, WATCH, request, print) as stream:
        with pytest.raises(RpcError, match="cannot be read"):
            await stream.end
