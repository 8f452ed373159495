"""Servers that are not there, that end, or that are none."""

import asyncio
import socket
import ssl
import threading

import pytest
from callboard.certificates import Authority, parse_node
from callboard.registry.engine.etcd.rpc import (
    Channel,
    NotSent,
    RpcError,
    StatusCode,
    Target,
    channel,
    wire,
)
from callboard.tls import client_context
from h2.events import (
    PingReceived,
    StreamEnded,
)

from .h2_server import h2_side, message
from .served import WAIT_S, Served, ask


def test_nobody_there(on_loop, tmp_path):
    async def scene(served, one):
        for target in (Target("127.0.0.1", 1), Target("", 0, str(tmp_path / "nothing"))):
            with pytest.raises(NotSent):
                await ask(Channel(target))

    on_loop(scene)


def test_a_server_that_says_nothing_is_not_there(on_loop, monkeypatch):
    monkeypatch.setattr(channel, "CONNECT_S_MAX", 0.05)

    async def scene(served, one):
        served.greets = False
        with pytest.raises(NotSent, match="no connection in time"):
            await ask(one)
        served.greets = True
        assert await ask(one) == b"answer"

    on_loop(scene)


def test_what_is_no_http2_is_not_there(on_loop):
    async def scene(served, one):
        served.greets = False
        asking = asyncio.create_task(ask(one))
        await served.until(lambda: served.peers)
        served.peers[0].transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(NotSent, match="HTTP/2"):
            await asking

    on_loop(scene)


def test_a_connection_that_breaks_leaves_the_call_unknown(on_loop):
    async def scene(served, one):
        served.on_event = lambda peer, event: None
        asking = asyncio.create_task(ask(one))
        await served.until(lambda: served.events(StreamEnded))
        served.peers[0].transport.abort()
        with pytest.raises(RpcError) as failed:
            await asking
        assert failed.value.code == StatusCode.UNAVAILABLE
        assert not isinstance(failed.value, NotSent)

    on_loop(scene)


def test_a_server_that_takes_leave_finishes_what_it_has(on_loop):
    async def scene(served, one):
        served.on_event = lambda peer, event: None
        old = asyncio.create_task(ask(one))
        await served.until(lambda: served.events(StreamEnded))
        [peer] = served.peers
        # By hand: h2 says nothing more after a GOAWAY, and Go's servers do.
        peer.transport.write(bytes.fromhex("000008 07 00 00000000 7fffffff 00000000"))
        served.on_event = lambda peer, event: Served.on_event(served, peer, event)
        while len(served.peers) < 2:
            assert await ask(one) == b"answer"
        peer.answer(1, b"late")
        assert await old == b"late"
        await served.until(lambda: served.lost == [peer])
        assert await ask(one) == b"answer"
        assert len(served.peers) == 2

    on_loop(scene)


def serve_two(listener, leave, left):
    """A connection and one call, and the same again after `leave`."""
    for number in range(2):
        sock, _ = listener.accept()
        connection = h2_side()
        with sock:
            sock.settimeout(WAIT_S)
            asked = False
            while not asked:
                sock.sendall(connection.data_to_send())
                events = connection.receive_data(sock.recv(65_536))
                asked = any(isinstance(event, StreamEnded) for event in events)
            connection.send_headers(1, [(":status", "200")])
            connection.send_data(1, message(b"%d" % number))
            connection.send_headers(1, [("grpc-status", "0")], end_stream=True)
            sock.sendall(connection.data_to_send())
            leave.wait(WAIT_S)
            connection.close_connection()
            sock.sendall(connection.data_to_send())
        left.set()


def test_an_end_that_waits_in_the_socket_is_heard_before_a_call(on_loop):
    async def scene(served, one):
        leave, left = threading.Event(), threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            serving = threading.Thread(target=serve_two, args=(listener, leave, left))
            serving.start()
            other = Channel(Target(*listener.getsockname()))
            assert await ask(other) == b"0"
            leave.set()
            assert left.wait(WAIT_S), "in this time the loop has heard nothing"
            assert await ask(other) == b"1"
            await other.close()
            serving.join()

    on_loop(scene)


def test_a_silent_server_is_pinged_and_then_left(on_loop, monkeypatch):
    monkeypatch.setattr(wire, "SILENT_S_MAX", 0.05)
    monkeypatch.setattr(wire, "PING_S_MAX", 0.05)

    async def scene(served, one):
        served.on_event = lambda peer, event: None
        asking = asyncio.create_task(ask(one))
        await served.until(lambda: len(served.events(PingReceived)) >= 2)
        assert not asking.done(), "it answers pings: it is there"
        served.is_mute = True
        with pytest.raises(RpcError, match="silent"):
            await asking

    on_loop(scene)


def test_tls_with_and_without_trust(on_loop, tmp_path):
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*ours.add_node(parse_node("server=127.0.0.1")))
    server.set_alpn_protocols(["h2"])
    trusting, strange = (client_context(str(one.cert_path)) for one in (ours, theirs))
    trusting.set_alpn_protocols(["h2"])

    async def served_well(served, one):
        assert await ask(one) == b"answer"

    async def refused(served, one):
        with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(one)

    on_loop(served_well, tls=server, target_tls=trusting)
    on_loop(refused, tls=server, target_tls=strange)
