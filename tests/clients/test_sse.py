"""The event stream: fed whole, byte by byte, and with junk."""

from itertools import pairwise

import pytest
from callboard.clients import sse
from callboard.clients.sse import EventStream, EventTooLarge, Message
from hypothesis import given
from hypothesis import strategies as st

STREAM = (
    b"\xef\xbb\xbf: hello\n"
    b"id: 7\nevent: snapshot\ndata: {\ndata: }\n\n"
    b"event: put\r\nid: 8\r\ndata: \xc3\xa9\r\n\r\n"
    b": ping\n\n"
    b"data:none\rretry: 5\runknown\r\r"
    b"id: 9\n\n"
    b"data\n\n"
    b"event: never ended\ndata: x\n"
)
MESSAGES = [
    Message("snapshot", "{\n}", "7"),
    Message("put", "é", "8"),
    Message("message", "none", "8"),
    Message("message", "", "9"),
]


def cut(data, at):
    bounds = [0, *sorted(at), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


def fed(chunks):
    stream = EventStream()
    return [message for chunk in chunks for message in stream.feed(chunk)]


def test_a_stream_fed_whole():
    assert fed([STREAM]) == MESSAGES


def test_a_stream_fed_byte_by_byte():
    assert fed(STREAM[i : i + 1] for i in range(len(STREAM))) == MESSAGES


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_where_a_stream_is_cut_makes_no_difference(at):
    assert fed(cut(STREAM, at)) == MESSAGES


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_junk_is_read_the_same_however_it_is_cut(chunks):
    whole = b"".join(chunks)
    assert fed(chunks) == fed([whole]) == fed(whole[i : i + 1] for i in range(len(whole)))


@given(st.binary(max_size=60))
def test_junk_before_a_blank_line_does_not_harm_what_follows(junk):
    assert fed([junk + b"\n\n" + b"event: put\ndata: x\n\n"])[-1][:2] == ("put", "x")


def test_an_event_without_an_end_is_given_up(monkeypatch):
    monkeypatch.setattr(sse, "MESSAGE_BYTES_MAX", 1000)
    for endless in (b"x" * 100, b"data: " + b"x" * 100 + b"\n"):
        with pytest.raises(EventTooLarge):
            fed([endless] * 20)
