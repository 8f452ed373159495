"""Servers that are something else, and those behind TLS."""

import asyncio
import ssl

import pytest
from callboard.certificates import Authority, parse_node
from callboard.registry.engine.etcd.rpc import (
    Channel,
    NotSent,
    Target,
    channel,
)
from callboard.tls import client_context
from h2.events import StreamEnded

from .h2_server import message
from .served import WAIT_S, ask


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


def test_a_server_that_hangs_up_on_tls_is_told_of_in_words(on_loop):
    async def scene(served, one):
        tls = ssl.create_default_context()
        assert (await refused_by(Stranger(hangs_up=True), tls=tls)).details

    on_loop(scene)


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_a_host_that_cannot_be_is_not_there(on_loop, host):
    async def scene(served, one):
        with pytest.raises(NotSent):
            await ask(Channel(Target(host, 1)))

    on_loop(scene)
