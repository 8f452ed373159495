"""What is left of connections: nothing; and servers that are something else."""

import asyncio
import os
import ssl

import pytest
from callboard.certificates import Authority, parse_node
from callboard.registry.engine.etcd.rpc import Channel, NotSent, RpcError, Target, channel
from callboard.tls import client_context
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamEnded, StreamReset

from .h2_server import message
from .served import PATH, WAIT_S, ask


def sockets():
    """How many this process has."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        except OSError:  # that of the listing itself
            continue
    return found


class Stranger(asyncio.Protocol):
    """A server that says `words` to who says something, and hangs up if it is told to."""

    def __init__(self, words=b"", *, hangs_up=False):
        self.words, self.hangs_up = words, hangs_up
        self.lost = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if self.words:
            self.transport.write(self.words)
        if self.hangs_up:
            self.transport.close()

    def connection_lost(self, error):
        self.lost.set()


async def refused_by(stranger, *, tls=None):
    """How a call to it fails, when the connection has gone on both sides."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: stranger, "127.0.0.1", 0)
    one = Channel(Target(*server.sockets[0].getsockname(), tls=tls))
    with pytest.raises(NotSent) as failed:
        await ask(one)
    await one.close()
    async with asyncio.timeout(WAIT_S):
        await stranger.lost.wait()
    server.close()
    return failed.value


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


def test_answers_larger_than_the_windows_come_over_tls_too(on_loop, tmp_path):
    authority = Authority(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.add_node(parse_node("server=127.0.0.1")))
    client = client_context(str(authority.cert_path))
    value = bytes(range(256)) * 4000

    async def scene(served, one):
        def send(peer, event):
            if isinstance(event, StreamEnded):
                peer.h2.send_headers(event.stream_id, [(":status", "200")])
                data = message(value)
                size = peer.h2.max_outbound_frame_size
                for at in range(0, len(data), size):
                    peer.h2.send_data(event.stream_id, data[at : at + size])
                peer.h2.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)

        served.on_event = send
        for got in await asyncio.gather(*(ask(one) for _ in range(4))):
            assert got == value

    on_loop(scene, tls=server, target_tls=client)


def test_tls_with_a_server_that_has_none(on_loop):
    async def scene(served, one):
        tls = ssl.create_default_context()
        error = await refused_by(Stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n"), tls=tls)
        assert "SSL" in error.details

    on_loop(scene)


def test_tls_with_a_server_that_never_answers(on_loop, monkeypatch):
    monkeypatch.setattr(channel, "CONNECT_S_MAX", 0.05)

    async def scene(served, one):
        error = await refused_by(Stranger(), tls=ssl.create_default_context())
        assert "in time" in error.details

    on_loop(scene)


def test_a_server_that_hangs_up_before_it_has_said_anything(on_loop):
    async def scene(served, one):
        assert "closed the connection" in (await refused_by(Stranger(hangs_up=True))).details

    on_loop(scene)
