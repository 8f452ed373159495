"""What only some servers do, and frames as another library reads and writes them."""

import hpack
import hyperframe.frame as foreign
import pytest
from callboard.registry.engine.etcd.rpc import frames
from callboard.registry.engine.etcd.rpc.blocks import headers
from callboard.registry.engine.etcd.rpc.frames import END_HEADERS, Kind, Setting
from callboard.registry.engine.etcd.rpc.session import (
    Ended,
    Message,
    Session,
    SessionError,
    Unprocessed,
)
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from .h2_server import Server, message
from .served import PATH

STREAMS = st.integers(1, 2**31 - 1)


def parse(data):
    """What hyperframe makes of `data`, which is one frame."""
    one, length = foreign.Frame.parse_frame_header(memoryview(data)[:9])
    assert length == len(data) - 9
    one.parse_body(memoryview(data)[9:])
    return one


def ready():
    session = Session()
    session.receive(frames.settings({}))
    session.take()
    return session


@given(STREAMS, st.integers(1, 2**31 - 1))
def test_others_read_what_we_write(stream, size):
    assert parse(frames.window_update(stream, size)).window_increment == size
    assert parse(frames.reset(stream)).error_code == 8
    assert parse(frames.reset(stream)).stream_id == stream
    assert parse(frames.settings({Setting.INITIAL_WINDOW_SIZE: size})).settings == {4: size}
    assert parse(frames.frame(Kind.DATA, stream, bytes(70), 1)).flags == {"END_STREAM"}


@given(STREAMS, st.binary(max_size=300), st.integers(0, 255), st.booleans())
def test_we_read_what_others_pad(stream, data, padding, priority):
    flags = ["PADDED", *(["PRIORITY"] if priority else [])]
    body = foreign.DataFrame(stream, data, pad_length=padding, flags=["PADDED"])
    head = foreign.HeadersFrame(stream, data, pad_length=padding, flags=flags)
    read, left = frames.read_frames(body.serialize() + head.serialize())
    assert left == b""
    assert [(one.stream, one.content) for one in read] == [(stream, data)] * 2


@given(st.lists(st.binary(max_size=100), max_size=5), st.integers(0, 255))
def test_padding_is_in_no_message_but_counts_in_the_windows(payloads, padding):
    server = Server()
    call = server.begin()
    server.h2.send_headers(call, [(":status", "200")])
    for payload in payloads:
        server.h2.send_data(call, message(payload), pad_length=padding)
    before = server.session._consumed_bytes
    server.exchange()
    assert server.told() == [Message(call, payload) for payload in payloads]
    counted = server.session._consumed_bytes - before
    assert counted == sum(5 + len(payload) + padding + 1 for payload in payloads)


def test_a_stream_that_lasts_is_given_window_again_and_again():
    server = Server()
    call = server.begin(ends=False)
    server.h2.send_headers(call, [(":status", "200")])
    part = bytes(1_000_000)
    for _ in range(60):  # 60 MB through 16 MiB
        server.send(call, message(part))
    assert server.told() == [Message(call, part)] * 60


LITERAL = b"\x40\x01a\x01b"
"""Said to be remembered, which a table of no size does not do."""


def test_a_field_that_was_to_be_remembered_is_not(server):
    call = server.begin()
    first = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(":status", "200")]) + LITERAL
    assert server.session.receive(frames.frame(Kind.HEADERS, call, first, END_HEADERS)) == []
    with pytest.raises(SessionError, match="index"):
        server.session.receive(frames.frame(Kind.HEADERS, call, b"\xbe", END_HEADERS))


@pytest.mark.parametrize("said", [LITERAL + b"\xbe", b"\x3f\xe1\x1f"], ids=["reference", "resize"])
def test_a_server_that_keeps_a_table_all_the_same_is_refused(server, said):
    call = server.begin()
    with pytest.raises(SessionError):
        server.session.receive(frames.frame(Kind.HEADERS, call, said, END_HEADERS))


def test_a_server_may_say_that_its_table_is_empty(server):
    call = server.begin()
    server.session.receive(frames.frame(Kind.HEADERS, call, b"\x20\x88", END_HEADERS))
    assert server.session._calls[call].http_status == ""


def test_an_interim_answer_is_none(server):
    call = server.begin()
    server.h2.send_headers(call, [(":status", "103")])
    server.exchange()
    server.answer(call, b"answer")
    assert server.told() == [Message(call, b"answer"), Ended(call, 0, "")]


def test_frames_of_kinds_that_are_not_known_change_nothing(server):
    call = server.begin()
    unknown = bytes.fromhex("000003 2a ff 00000001") + b"abc"
    priority = bytes.fromhex("000005 02 00 00000001 0000000010")
    assert server.session.receive(unknown + priority) == []
    server.answer(call, b"answer")
    assert server.told() == [Message(call, b"answer"), Ended(call, 0, "")]


def test_a_code_that_grpc_does_not_know_is_told_as_it_is(server):
    call = server.begin()
    server.answer(call, trailers=(("grpc-status", "99"), ("grpc-message", "100%25 + 1%")))
    assert server.told() == [Ended(call, 99, "100% + 1%")]


def test_a_window_given_to_a_call_that_has_ended_is_nobodys(server):
    call = server.begin()
    server.answer(call)
    server.told()
    assert server.session.receive(frames.window_update(call, 1_000)) == []
    assert server.session.take() == b""


def test_settings_are_acknowledged_and_acknowledgements_are_not():
    session = Session()
    session.take()
    acknowledgement = frames.frame(Kind.SETTINGS, 0, flags=1)
    session.receive(acknowledgement)
    assert (session.ready, session.take()) == (False, b"")
    session.receive(frames.settings({}))
    assert (session.ready, session.take()) == (True, acknowledgement)


def test_who_takes_leave_of_one_call_does_not_of_those_before():
    session = ready()
    calls = [session.begin(b"", b"", ends=True) for _ in range(4)]
    last = calls[1].to_bytes(4, "big")
    told = session.receive(frames.frame(Kind.GOAWAY, 0, last + bytes(4) + b"why it goes"))
    assert told == [Unprocessed(call) for call in calls[2:]]
    assert list(session._calls) == calls[:2]


def test_calls_that_end_do_not_bring_back_a_session_that_was_full():
    server = Server({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    first, second = server.begin(), server.begin()
    server.answer(first)
    server.answer(second)
    assert server.session.leaving


def test_a_server_that_keeps_no_table_reads_our_headers(server):
    server.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0})
    server.exchange()
    call = server.begin()
    assert server.requests[call][":path"] == PATH


def test_the_reserved_bit_is_no_part_of_a_window():
    session = ready()
    before = session._window_bytes
    session.receive(frames.window_update(0, 2**31 + 1))
    assert session._window_bytes == before + 1


def test_headers_longer_than_a_frame_are_sent_in_several(server):
    fields = headers("http", "localhost", PATH, (("token", "x" * 30_000),))
    call = server.session.begin(fields, b"", ends=True)
    server.exchange()
    assert server.requests[call]["token"] == "x" * 30_000


def test_a_server_that_takes_fewer_calls_than_it_has_gets_no_more():
    server = Server()
    for _ in range(3):
        server.begin()
    server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    server.exchange()
    assert server.session.leaving
