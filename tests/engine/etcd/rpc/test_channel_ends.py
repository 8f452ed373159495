"""What is left of connections: nothing."""

import asyncio
import gc
import os

import pytest
from callboard.registry.engine.etcd.rpc import (
    NotSent,
    RpcError,
    frames,
)
from callboard.registry.engine.etcd.rpc.wire import Wire
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

from .h2_server import message
from .served import PATH, ask


def sockets():
    """How many this process has."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        except OSError:  # that of the listing itself
            continue
    return found


def unheard():
    """Everything that the loop is told of from now on and nobody else."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    return told


def test_nothing_is_left_of_a_channel_that_was_closed(on_loop):
    async def scene(served, one):
        before = asyncio.all_tasks(), sockets()
        served.on_event = lambda peer, event: None
        asking = [asyncio.create_task(ask(one)) for _ in range(3)]
        await served.until(lambda: len(served.events(StreamEnded)) == 3)
        assert sockets() > before[1]
        await one.close()
        await asyncio.wait(asking)
        assert {type(task.exception()) for task in asking} == {RpcError}
        await served.until(lambda: served.lost == served.peers)
        assert (asyncio.all_tasks(), sockets()) == before

    on_loop(scene)


def test_nothing_is_left_of_a_channel_that_was_closed_while_connecting(on_loop):
    async def scene(served, one):
        before = asyncio.all_tasks(), sockets()
        served.greets = False
        asking = asyncio.create_task(ask(one))
        await served.until(lambda: served.peers and served.peers[0].unread)
        await one.close()
        with pytest.raises(NotSent):
            await asking
        await served.until(lambda: served.lost == served.peers)
        assert (asyncio.all_tasks(), sockets()) == before

    on_loop(scene)


def test_a_connection_that_nobody_waits_for_any_more_serves_the_next(on_loop):
    async def scene(served, one):
        served.greets = False
        asking = asyncio.create_task(ask(one))
        await served.until(lambda: served.peers and served.peers[0].unread)
        asking.cancel()
        await asyncio.wait([asking])
        served.greets = True
        served.peers[0].read()
        assert await ask(one) == b"answer"
        assert len(served.peers) == 1

    on_loop(scene)


def test_a_caller_without_time_has_not_been_sent(on_loop):
    async def scene(served, one):
        served.greets = False
        with pytest.raises(NotSent):
            await ask(one, timeout_s=0.01)
        await served.until(lambda: served.peers and served.peers[0].unread)
        served.greets = True
        served.peers[0].read()
        assert await ask(one) == b"answer"
        assert len(served.events(RequestReceived)) == 1

    on_loop(scene)


def test_after_a_broken_connection_the_next_call_has_a_new_one(on_loop):
    async def scene(served, one):
        for number in range(3):
            assert await ask(one) == b"answer"
            served.peers[number].transport.abort()
            await served.until(lambda number=number: len(served.lost) == number + 1)
        assert len(served.peers) == 3

    on_loop(scene)


def test_a_call_that_was_refused_leaves_the_connection_to_others(on_loop):
    async def scene(served, one):
        answer = served.on_event

        def refuse(peer, event):
            if isinstance(event, RequestReceived):
                peer.h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)

        served.on_event = refuse
        with pytest.raises(NotSent):
            await ask(one)
        served.on_event = answer
        assert await ask(one) == b"answer"
        assert len(served.peers) == 1

    on_loop(scene)


def test_a_stream_whose_block_ends_is_reset_and_hears_no_more(on_loop):
    async def scene(served, one):
        taken = []
        served.on_event = lambda peer, event: None
        async with one.stream(PATH, (), b"question", taken.append):
            await served.until(lambda: served.events(RequestReceived))
        [peer] = served.peers
        peer.h2.send_headers(1, [(":status", "200")])
        peer.h2.send_data(1, message(b"late"))
        peer.flush()
        await served.until(lambda: served.events(StreamReset))
        served.on_event = lambda peer, event: (
            peer.answer(event.stream_id) if isinstance(event, StreamEnded) else None
        )
        assert await ask(one) == b"answer"
        assert taken == []

    on_loop(scene)


def test_more_callers_than_a_server_takes_are_all_served(on_loop):
    async def scene(served, one):
        answer = served.on_event
        assert await ask(one) == b"answer"
        served.peers[0].transport.abort()
        await served.until(lambda: served.lost)
        served.greets = False
        asking = [asyncio.create_task(ask(one)) for _ in range(7)]
        await served.until(lambda: len(served.peers) == 2 and served.peers[1].unread)
        served.on_event = answer
        served.greets = True
        peer = served.peers[1]
        peer.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 3})
        peer.read()
        assert await asyncio.gather(*asking) == [b"answer"] * 7

    on_loop(scene)


def test_who_gives_up_closing_leaves_the_end_in_order(on_loop):
    async def scene(served, one):
        told = unheard()
        await ask(one)
        closing = asyncio.create_task(one.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await served.until(lambda: served.lost)
        assert told == []

    on_loop(scene)


def test_closing_before_connecting_has_begun_tells_who_waits(on_loop):
    async def scene(served, one):
        asking = asyncio.create_task(ask(one))
        await asyncio.sleep(0)
        await one.close()
        [told] = await asyncio.gather(asking, return_exceptions=True)
        assert isinstance(told, NotSent)

    on_loop(scene)


async def test_a_connection_that_was_lost_for_no_reason_takes_no_calls():
    wire = Wire()
    wire._session.receive(frames.settings({}))
    wire.connection_lost(ConnectionResetError())
    assert isinstance(wire.ready.exception(), NotSent)
    assert not wire.takes_calls


def test_who_leaves_a_stream_early_need_not_hear_how_it_ended(on_loop):
    async def scene(served, one):
        told = unheard()

        def refuse(peer, event):
            if isinstance(event, StreamEnded):
                peer.answer(event.stream_id)
            elif getattr(event, "headers", None):
                trailers = [(":status", "200"), ("grpc-status", "5")]
                peer.h2.send_headers(event.stream_id, trailers, end_stream=True)

        served.on_event = refuse
        async with one.stream(PATH, (), b"question", lambda _: None) as stream:
            await asyncio.wait([stream.end])
        del stream
        gc.collect()
        assert told == []

    on_loop(scene)
