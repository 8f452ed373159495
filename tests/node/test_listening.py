"""TLS connections are counted from accept on: strangers that say nothing make room for clients."""

import asyncio
import ssl
from contextlib import suppress

import pytest
import uvloop
from aiohttp import web
from callboard.api.connections import BoundedServer
from callboard.api.listener import ApiAddress, ApiConfig
from callboard.certificates import Authority, parse_node
from callboard.listening import TlsListener, listening_socket
from callboard.registry.relay import RelayListener
from callboard.registry.relay import listener as relaying
from callboard.tls import TlsFiles, client_context, server_context

HOST = "127.0.0.1"
SOON_S = 20
NEVER_S = 600
MOST = 4


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """The server's and the client's."""
    home = tmp_path_factory.mktemp("tls")
    Authority(home).add_node(parse_node("a"))
    cert, key, ca = (str(home / name) for name in ("a.pem", "a.key", "ca.pem"))
    return server_context(TlsFiles(cert, key)), client_context(ca)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    def run(coroutine):
        async def bounded():
            async with asyncio.timeout(SOON_S):
                await coroutine

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())

    return run


class Echo(asyncio.Protocol):
    def __init__(self, opened, left):
        self._opened, self._left = opened, left

    def connection_made(self, transport):
        self._transport = transport
        self._opened.add(self)

    def data_received(self, data):
        self._transport.write(data.upper())

    def connection_lost(self, _error):
        self._opened.discard(self)
        self._left.set()


class Listening:
    def __init__(self, contexts, handshake_s_max=NEVER_S):
        server, self._client = contexts
        self.opened, self.left = set(), asyncio.Event()
        bound = listening_socket(HOST, 0, 100)
        self.port = bound.getsockname()[1]
        self.listener = TlsListener(
            bound,
            server,
            lambda: Echo(self.opened, self.left),
            open_count=lambda: len(self.opened),
            connections_max=MOST,
            handshake_s_max=handshake_s_max,
            goodbye_s_max=0.1,
        )

    async def client(self):
        reader, writer = await asyncio.open_connection(HOST, self.port, ssl=self._client)
        await echoed(reader, writer)
        return reader, writer

    async def silent(self):
        return await asyncio.open_connection(HOST, self.port)


async def echoed(reader, writer):
    writer.write(b"a")
    assert await reader.readexactly(1) == b"A"


async def ended(reader):
    with suppress(ConnectionError):
        assert await reader.read() == b""


def test_a_client_is_served_among_more_strangers_than_there_is_room_for(run, contexts):
    async def scene():
        listening = Listening(contexts)
        first = await listening.client()
        strangers = [await listening.silent() for _ in range(5 * MOST)]
        second = await listening.client()
        await echoed(*first)
        # Two of the places are the clients'; the youngest strangers still have the others.
        for reader, _ in strangers[: -(MOST - 2)]:
            await ended(reader)
        assert not strangers[-1][0].at_eof()
        listening.listener.close()
        for reader, _ in strangers:
            await ended(reader)
        await echoed(*second)
        for _, writer in (first, second, *strangers):
            writer.close()

    run(scene())


def test_only_those_that_are_open_in_earnest_refuse_others(run, contexts):
    async def scene():
        listening = Listening(contexts)
        clients = [await listening.client() for _ in range(MOST)]
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await listening.client()
        clients.pop()[1].close()
        await listening.left.wait()
        clients.append(await listening.client())
        listening.listener.close()
        for _, writer in clients:
            writer.close()

    run(scene())


def test_whoever_says_nothing_or_no_tls_is_closed(run, contexts):
    async def scene():
        listening = Listening(contexts, handshake_s_max=0.2)
        silent, rude = await listening.silent(), await listening.silent()
        rude[1].write(b"GET / HTTP/1.1\r\n\r\n")
        for reader, writer in (silent, rude):
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
        assert not listening.opened
        listening.listener.close()

    run(scene())


def test_the_api_counts_handshakes(run, contexts):
    async def answer(_request):
        return web.Response(text="here")

    async def scene():
        server, client = contexts
        api = BoundedServer(answer, None)
        address = ApiAddress(ApiConfig(HOST, 0, server, connections_max=MOST))
        listener = await address.listen(api)
        strangers = [await asyncio.open_connection(HOST, address.port) for _ in range(2 * MOST)]
        reader, writer = await asyncio.open_connection(HOST, address.port, ssl=client)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for stranger, _ in strangers[:MOST]:
            await ended(stranger)
        listener.close()
        address.close()
        for _, one in (*strangers, (reader, writer)):
            one.close()
        await api.shutdown(1)

    run(scene())


def test_the_relay_counts_handshakes(run, contexts, monkeypatch):
    monkeypatch.setattr(relaying, "CONNECTIONS_MAX", MOST)
    monkeypatch.setattr(relaying, "HELLO_S_MAX", NEVER_S)

    async def scene():
        server, client = contexts
        listener = RelayListener("here", None, server)
        await listener.start(HOST, 0)
        strangers = [await asyncio.open_connection(HOST, listener.port) for _ in range(2 * MOST)]
        _, ours = await asyncio.open_connection(HOST, listener.port, ssl=client)
        for reader, _ in strangers[:MOST]:
            await ended(reader)
        await listener.close()
        for _, writer in (*strangers, (None, ours)):
            writer.close()

    run(scene())


def test_an_address_that_is_taken_is_said_so_in_the_systems_words():
    with listening_socket(HOST, 0, 1) as taken:
        with pytest.raises(OSError, match="in use") as refused:
            listening_socket(HOST, taken.getsockname()[1], 1)
        assert refused.value.strerror == "Address already in use"
