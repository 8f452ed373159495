"""Calls over real sockets."""

import asyncio

import pytest
from callboard.registry.engine.etcd.rpc import (
    NotSent,
    RpcError,
    StatusCode,
    wire,
)
from h2.errors import ErrorCodes
from h2.events import (
    PingAckReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
)

from .h2_server import message
from .served import PATH, ask


@pytest.mark.parametrize("unix", [False, True])
def test_calls_share_one_connection(on_loop, unix):
    async def scene(served, one):
        assert await asyncio.gather(*(ask(one) for _ in range(20))) == [b"answer"] * 20
        assert await ask(one) == b"answer"
        assert len(served.peers) == 1

    on_loop(scene, unix=unix)


def test_who_waits_no_longer_tells_the_server(on_loop):
    async def scene(served, one):
        served.on_event = lambda peer, event: None
        with pytest.raises(RpcError) as failed:
            await ask(one, timeout_s=0.05)
        assert failed.value.code == StatusCode.DEADLINE_EXCEEDED
        leaving, staying = (asyncio.create_task(ask(one)) for _ in range(2))
        await served.until(lambda: len(served.events(StreamEnded)) == 3)
        leaving.cancel()
        await served.until(lambda: len(served.events(StreamReset)) == 2)
        reset = [(one.stream_id, one.error_code) for one in served.events(StreamReset)]
        assert reset == [(1, ErrorCodes.CANCEL), (3, ErrorCodes.CANCEL)]
        served.peers[0].answer(5)
        assert await staying == b"answer"

    on_loop(scene)


def test_who_gives_up_connecting_does_not_end_it_for_others(on_loop):
    async def scene(served, one):
        served.greets = False
        leaving, staying = (asyncio.create_task(ask(one)) for _ in range(2))
        await served.until(lambda: served.peers)
        leaving.cancel()
        await asyncio.wait([leaving])
        served.greets = True
        served.peers[0].read()
        assert await staying == b"answer"
        assert leaving.cancelled()
        assert len(served.peers) == 1

    on_loop(scene)


def test_pings_of_the_server_are_answered_after_a_while(on_loop, monkeypatch):
    monkeypatch.setattr(wire, "ANSWER_S", 0.01)

    async def scene(served, one):
        await ask(one)
        [peer] = served.peers
        for _ in range(3):
            peer.h2.ping(b"12345678")
        peer.flush()
        await served.until(lambda: len(served.events(PingAckReceived)) == 3)

    on_loop(scene)


def test_a_stream_gives_each_message_until_it_ends(on_loop):
    async def scene(served, one):
        taken = []
        async with one.stream(PATH, (), b"question", taken.append) as stream:
            await served.until(lambda: served.events(RequestReceived))
            [peer] = served.peers
            peer.h2.send_headers(1, [(":status", "200")])
            for payload in (b"1", b"2"):
                peer.h2.send_data(1, message(payload))
            peer.h2.send_headers(1, [("grpc-status", "5")], end_stream=True)
            peer.flush()
            with pytest.raises(RpcError, match="NOT_FOUND"):
                await stream.end
        assert taken == [b"1", b"2"]
        async with one.stream(PATH, (), b"question", taken.append) as stream:
            stream.cancel()
            await stream.end
        await served.until(lambda: served.events(StreamReset))

    on_loop(scene)


def test_a_defect_in_who_takes_a_message_is_theirs_who_wait(on_loop):
    async def scene(served, one):
        def take(payload):
            raise ZeroDivisionError

        async with one.stream(PATH, (), b"question", take) as stream:
            await served.until(lambda: served.events(RequestReceived))
            served.peers[0].answer(1)
            with pytest.raises(ZeroDivisionError):
                await stream.end
        assert await ask(one) == b"answer"

    on_loop(scene)


def test_closing_while_connecting(on_loop):
    async def scene(served, one):
        served.greets = False
        asking = asyncio.create_task(ask(one))
        await served.until(lambda: served.peers)
        await one.close()
        for call in (asking, ask(one)):
            with pytest.raises(NotSent, match="stopping"):
                await call
        assert len(served.peers) == 1

    on_loop(scene)


def test_closing_while_calling(on_loop):
    async def scene(served, one):
        served.on_event = lambda peer, event: None
        asking = asyncio.create_task(ask(one))
        await served.until(lambda: served.events(StreamEnded))
        await one.close()
        with pytest.raises(RpcError, match="stopping") as failed:
            await asking
        assert not isinstance(failed.value, NotSent)

    on_loop(scene)
