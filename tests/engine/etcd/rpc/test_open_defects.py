"""What is wrong and known: a test that passes is to lose its mark and move to its like."""

import asyncio
import contextlib
import gc
import ssl

import pytest
from callboard.registry.engine.etcd.rpc import Channel, NotSent, Target, frames
from callboard.registry.engine.etcd.rpc.frames import END_HEADERS, END_STREAM, Kind
from callboard.registry.engine.etcd.rpc.session import Session, SessionError, headers
from callboard.registry.engine.etcd.rpc.wire import Wire
from h2.events import StreamEnded
from h2.settings import SettingCodes

from .h2_server import Server, message
from .served import PATH, ask
from .test_channel_ends import Stranger, refused_by
from .test_session_ends import block

HELLO = frames.settings({})


def unheard():
    """Everything that the loop is told of from now on and nobody else."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    return told


@pytest.mark.xfail(raises=ValueError, reason="int() takes 4300 digits")
def test_a_status_of_very_many_digits_is_no_defect_of_ours():
    session = Session()
    session.receive(HELLO)
    call = session.begin(b"", b"", ends=True)
    fields = block((":status", "200"), ("grpc-status", "9" * 4400))
    with contextlib.suppress(SessionError):
        session.receive(frames.frame(Kind.HEADERS, call, fields, END_HEADERS | END_STREAM))


@pytest.mark.xfail(reason="the encoder does not say that its table has shrunk (RFC 7541, 4.2)")
def test_a_server_that_keeps_no_table_reads_our_headers(server):
    server.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0})
    server.exchange()
    call = server.begin()
    assert server.requests[call][":path"] == PATH


@pytest.mark.xfail(reason="the bit is counted in")
def test_the_reserved_bit_is_no_part_of_a_window():
    session = Session()
    session.receive(HELLO)
    before = session._window_bytes
    session.receive(frames.window_update(0, 2**31 + 1))
    assert session._window_bytes == before + 1


@pytest.mark.xfail(reason="they are one frame, however long")
def test_headers_longer_than_a_frame_are_sent_in_several(server):
    fields = headers("http", "localhost", PATH, (("token", "x" * 30_000),))
    call = server.session.begin(fields, b"", ends=True)
    server.exchange()
    assert server.requests[call]["token"] == "x" * 30_000


@pytest.mark.xfail(reason="the beginning of a message is dropped, and all is well")
def test_a_message_that_was_cut_off_is_an_error(server):
    call = server.begin()
    server.h2.send_headers(call, [(":status", "200")])
    server.h2.send_data(call, message(b"cut")[:-1])
    server.h2.send_headers(call, [("grpc-status", "0")], end_stream=True)
    server.exchange()
    [end] = server.told()
    assert end.code != 0


@pytest.mark.xfail(reason="it is looked at when a call begins only")
def test_a_server_that_takes_fewer_calls_than_it_has_gets_no_more():
    server = Server()
    for _ in range(3):
        server.begin()
    server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    server.exchange()
    assert server.session.leaving


@pytest.mark.xfail(reason="who comes after the last that it takes is refused, not connected anew")
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


@pytest.mark.xfail(reason="`lost` is cancelled with who waits, and then set")
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


@pytest.mark.xfail(
    reason="the task is cancelled before it has begun, and nothing tells its callers"
)
def test_closing_before_connecting_has_begun_tells_who_waits(on_loop):
    async def scene(served, one):
        asking = asyncio.create_task(ask(one))
        await asyncio.sleep(0)
        await one.close()
        [told] = await asyncio.gather(asking, return_exceptions=True)
        assert isinstance(told, NotSent)

    on_loop(scene)


@pytest.mark.xfail(reason="an error without words is taken for none")
async def test_a_connection_that_was_lost_for_no_reason_takes_no_calls():
    wire = Wire()
    wire._session.receive(HELLO)
    wire.connection_lost(ConnectionResetError())
    assert isinstance(wire.ready.exception(), NotSent)
    assert not wire.takes_calls


@pytest.mark.xfail(reason="a ConnectionResetError of asyncio has no words")
def test_a_server_that_hangs_up_on_tls_is_told_of_in_words(on_loop):
    async def scene(served, one):
        tls = ssl.create_default_context()
        assert (await refused_by(Stranger(hangs_up=True), tls=tls)).details

    on_loop(scene)


@pytest.mark.xfail(raises=UnicodeError, reason="getaddrinfo raises it")
@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_a_host_that_cannot_be_is_not_there(on_loop, host):
    async def scene(served, one):
        with pytest.raises(NotSent):
            await ask(Channel(Target(host, 1)))

    on_loop(scene)


@pytest.mark.xfail(reason="nobody is left to await `end`")
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
