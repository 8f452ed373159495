"""Calls over one connection, with h2 on the other side."""

import pytest
from callboard.registry.engine.etcd.rpc.session import Ended, Message, Unprocessed
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from .h2_server import BLOCK, Server, message

PAYLOADS = st.lists(st.binary(max_size=200), max_size=6)
MIB = 1024 * 1024


def test_a_call_and_its_answer(server):
    call = server.begin(b"question")
    assert server.requests[call] == {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/a.Service/Method",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
        "hasleader": "true",
    }
    assert (server.received[call], server.ended) == (message(b"question"), [call])
    server.answer(call, b"answer")
    assert server.told() == [Message(call, b"answer"), Ended(call, 0, "")]
    assert (server.session._calls, server.resets) == ({}, {})


def test_calls_are_answered_in_any_order(server):
    first, second = server.begin(), server.begin()
    server.answer(second, b"2")
    server.answer(first, b"1")
    assert [one.payload for one in server.told() if isinstance(one, Message)] == [b"2", b"1"]


@given(PAYLOADS, st.lists(st.integers(1, 50), max_size=30))
def test_messages_come_whole_and_in_order_however_they_are_cut(payloads, sizes):
    server = Server()
    call = server.begin(ends=False)
    server.h2.send_headers(call, [(":status", "200")])
    data = b"".join(map(message, payloads))
    for size in [*sizes, len(data)]:
        piece, data = data[:size], data[size:]
        server.h2.send_data(call, piece)
    said, told = server.h2.data_to_send(), []
    for size in [*reversed(sizes), len(said)]:
        piece, said = said[:size], said[size:]
        told += server.session.receive(piece)
    assert told == [Message(call, payload) for payload in payloads]


@pytest.mark.parametrize("window", [1, 1_000, 65_535])
def test_a_large_message_waits_for_the_server_to_read(window):
    server = Server({SettingCodes.INITIAL_WINDOW_SIZE: window})
    payload = bytes(range(256)) * (40 if window == 1 else 1000)
    server.acknowledges = False
    call = server.begin(payload)
    assert len(server.received[call]) == min(window, len(message(payload)))
    assert server.ended == []
    server.acknowledges = True
    while server.ended != [call]:
        server.h2.increment_flow_control_window(max(window, 500), call)
        server.h2.increment_flow_control_window(max(window, 500))
        server.exchange()
    assert server.received[call] == message(payload)


def test_a_window_that_the_server_changes_counts_for_calls_under_way():
    server = Server({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    server.acknowledges = False
    call = server.begin(bytes(100))
    assert len(server.received[call]) == 10
    server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 60})
    server.exchange()
    assert len(server.received[call]) == 60
    server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 20})
    server.h2.increment_flow_control_window(30, call)
    server.exchange()
    assert len(server.received[call]) == 60, "its window is 10 below nothing, as RFC 9113 has it"
    server.h2.increment_flow_control_window(100, call)
    server.exchange()
    assert server.ended == [call]


def test_who_waits_for_the_connections_window_lets_others_wait_behind():
    server = Server({SettingCodes.INITIAL_WINDOW_SIZE: 200_000})
    server.acknowledges = False
    first, second = server.begin(bytes(100_000)), server.begin(b"small")
    assert second not in server.received
    server.h2.increment_flow_control_window(100_000)
    server.exchange()
    assert server.ended == [first, second]


def test_a_large_answer_comes_whole_and_the_server_is_told_to_go_on(server):
    call = server.begin()
    payload = b"0123456789abcdef" * (3 * MIB)  # three times the windows
    server.answer(call, payload)
    got, end = server.told()
    assert got == Message(call, payload)
    assert end == Ended(call, 0, "")


def test_what_comes_for_a_call_that_was_reset_is_read_all_the_same(server):
    call = server.begin(ends=False)
    server.h2.send_headers(call, [(":status", "200")])
    server.exchange()
    server.session.reset(call)
    server.session.reset(call)
    late = server.h2
    before = late.outbound_flow_control_window
    for _ in range(600):  # more than half of the connection's window
        late.send_data(call, bytes(16_384))
        server.session.receive(late.data_to_send())
    late.receive_data(server.session.take())
    assert late.outbound_flow_control_window > before - 9 * MIB
    assert server.told() == []


def test_a_call_that_nobody_wants_is_reset_once(server):
    call = server.begin(ends=False)
    server.session.reset(call)
    server.session.reset(call)
    server.exchange()
    assert server.resets == {call: ErrorCodes.CANCEL}
    assert server.session._calls == {}


def test_pings_are_answered_when_it_is_told_to(server):
    for number in range(3):
        server.h2.ping(bytes([number]) * 8)
    server.exchange()
    assert server.session.pings == [bytes([number]) * 8 for number in range(3)]
    server.session.answer_pings()
    answered = server.h2.receive_data(server.session.take())
    assert [one.ping_data for one in answered] == [bytes([number]) * 8 for number in range(3)]
    assert server.session.pings == []


def test_who_sends_many_pings_is_answered_at_once(server):
    for _ in range(40):
        server.h2.ping(bytes(8))
    server.exchange()
    assert len(server.session.pings) < 16


def test_a_server_that_takes_so_many_calls_gets_no_more():
    server = Server({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    server.begin()
    assert not server.session.leaving
    server.begin()
    assert server.session.leaving


def test_a_call_that_the_server_refused_was_not_begun(server):
    refused, broken = server.begin(), server.begin()
    server.h2.reset_stream(refused, ErrorCodes.REFUSED_STREAM)
    server.h2.reset_stream(broken, ErrorCodes.INTERNAL_ERROR)
    server.exchange()
    first, second = server.told()
    assert first == Unprocessed(refused)
    assert (second.call, second.code) == (broken, 14)
    assert "2" in second.details


def test_the_same_block_begins_every_call():
    assert BLOCK.count(b"hasleader") in {0, 1}  # perhaps Huffman coded
    one, other = Server(), Server()
    for server in (one, other):
        server.begin()
        assert server.requests[server.begin()]["hasleader"] == "true"
