"""How calls and connections end, and what is no HTTP/2 at all."""

import hpack
import pytest
from callboard.registry.engine.etcd.rpc import frames
from callboard.registry.engine.etcd.rpc.frames import END_HEADERS, END_STREAM, Kind
from callboard.registry.engine.etcd.rpc.session import (
    Ended,
    Message,
    Session,
    SessionError,
    Unprocessed,
)
from hypothesis import given
from hypothesis import strategies as st

from .h2_server import message

NO_LEADER = (("grpc-status", "14"), ("grpc-message", "etcdserver: no leader %28%C3%A9%29"))
HELLO = frames.settings({})


def block(*fields):
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields])


def ready():
    session = Session()
    session.receive(HELLO)
    return session


def go_away(last):
    return frames.frame(Kind.GOAWAY, 0, last.to_bytes(4, "big") + bytes(4))


def answered(call, payload):
    """Headers, one message and trailers."""
    return b"".join(
        (
            frames.frame(Kind.HEADERS, call, block((":status", "200")), END_HEADERS),
            frames.frame(Kind.DATA, call, message(payload)),
            frames.frame(Kind.HEADERS, call, block(("grpc-status", "0")), END_HEADERS | END_STREAM),
        )
    )


def test_an_error_after_headers(server):
    call = server.begin()
    server.answer(call, trailers=NO_LEADER)
    assert server.told() == [Ended(call, 14, "etcdserver: no leader (é)")]


def test_an_error_with_nothing_before_it(server):
    call = server.begin(ends=False)
    server.h2.send_headers(call, [(":status", "200"), *NO_LEADER], end_stream=True)
    server.exchange()
    assert server.told() == [Ended(call, 14, "etcdserver: no leader (é)")]
    assert call in server.resets, "the server was told that nothing more comes"


@pytest.mark.parametrize(("status", "code"), [("503", 14), ("404", 2), ("200", 2)])
def test_a_server_that_is_no_grpc(server, status, code):
    call = server.begin()
    server.h2.send_headers(call, [(":status", status), ("content-type", "text/html")])
    server.h2.send_data(call, b"<html>sorry</html>" if status != "200" else b"", end_stream=True)
    server.exchange()
    [end] = server.told()
    assert (end.call, end.code) == (call, code)
    assert status in end.details


def test_an_answer_before_the_question_was_sent_whole(server):
    server.acknowledges = False
    call = server.begin(bytes(100_000))
    server.answer(call, trailers=NO_LEADER)
    assert [one.code for one in server.told()] == [14]
    assert call in server.resets
    server.h2.increment_flow_control_window(100_000)
    server.exchange()
    assert server.session._calls == {}


def test_who_takes_leave_finishes_what_was_begun():
    session = ready()
    first, second = (session.begin(b"", b"", ends=True) for _ in range(2))
    assert session.receive(go_away(2**31 - 1)) == []
    assert session.leaving
    assert session.receive(go_away(first)) == [Unprocessed(second)]
    assert session.receive(answered(first, b"late")) == [
        Message(first, b"late"),
        Ended(first, 0, ""),
    ]
    assert session._calls == {}


def test_headers_in_several_frames():
    session = ready()
    call = session.begin(b"", b"", ends=True)
    fields = block((":status", "200"), ("grpc-status", "0"), ("grpc-message", "x" * 300))
    said = [
        frames.frame(Kind.HEADERS, call, fields[:100], END_STREAM),
        frames.frame(Kind.CONTINUATION, call, fields[100:200]),
        frames.frame(Kind.CONTINUATION, call, fields[200:], END_HEADERS),
    ]
    told = [event for one in said for event in session.receive(one)]
    assert told == [Ended(call, 0, "x" * 300)]


INTERRUPTED = frames.frame(Kind.HEADERS, 1, b"") + frames.frame(Kind.PING, 0, bytes(8))
ENDLESS = frames.frame(Kind.HEADERS, 1, b"") + 5 * frames.frame(Kind.CONTINUATION, 1, bytes(16_000))
COMPRESSED = frames.frame(Kind.HEADERS, 1, block((":status", "200")), END_HEADERS) + frames.frame(
    Kind.DATA, 1, message(b"x", compressed=1)
)
REMEMBERED = frames.frame(Kind.HEADERS, 1, b"\xbe", END_HEADERS)
"""The first entry of a table that both sides have agreed not to keep."""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (INTERRUPTED, "not brought to its end"),
        (ENDLESS, "without an end"),
        (COMPRESSED, "compressed"),
        (REMEMBERED, "index"),
        (frames.frame(Kind.CONTINUATION, 1, b""), "has not begun"),
        (frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 2**31}), "window"),
        (frames.frame(Kind.GOAWAY, 0, b"x"), "GOAWAY"),
        (frames.frame(Kind.WINDOW_UPDATE, 0, b"x"), "4 belong"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "bytes"),
    ],
    ids=range(9),
)
def test_what_is_no_http2_ends_the_session(said, why):
    session = ready()
    session.begin(b"", b"", ends=True)
    with pytest.raises(SessionError, match=why):
        session.receive(said)


def test_a_server_begins_with_its_settings():
    with pytest.raises(SessionError, match="settings"):
        Session().receive(frames.frame(Kind.PING, 0, bytes(8)))


KINDS = st.integers(0, 12)
ODD_FRAMES = st.builds(
    lambda kind, flags, stream, payload: (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    ),
    KINDS,
    st.integers(0, 255),
    st.integers(0, 5),
    st.binary(max_size=40),
)


@given(st.lists(ODD_FRAMES, max_size=12), st.binary(max_size=20))
def test_anything_a_server_may_say_is_events_or_a_session_error(said, rest):
    session = ready()
    for _ in range(2):
        session.begin(b"", b"payload", ends=True)
    try:
        for one in [*said, rest]:
            session.receive(one)
    except SessionError:
        pass


def test_a_status_of_very_many_digits_is_no_defect_of_ours():
    session = ready()
    call = session.begin(b"", b"", ends=True)
    fields = block((":status", "200"), ("grpc-status", "9" * 4400))
    [end] = session.receive(frames.frame(Kind.HEADERS, call, fields, END_HEADERS | END_STREAM))
    assert end.code == 2


def test_a_message_that_was_cut_off_is_an_error(server):
    call = server.begin()
    server.h2.send_headers(call, [(":status", "200")])
    server.h2.send_data(call, message(b"cut")[:-1])
    server.h2.send_headers(call, [("grpc-status", "0")], end_stream=True)
    server.exchange()
    [end] = server.told()
    assert end.code != 0
