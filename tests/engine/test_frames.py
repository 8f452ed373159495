"""What node and writer say to each other survives any cutting of the stream."""

from callboard.registry.engine.frames import (
    Applied,
    CannotOpen,
    Closed,
    Ready,
    Rejected,
    Splitter,
    decode_answer,
    decode_calls,
    decode_results,
    encode,
    encode_results,
)
from hypothesis import given
from hypothesis import strategies as st

ANSWERS = [
    Ready(7),
    CannotOpen("no"),
    Applied(2, encode_results([1, 2, 0, 3])),
    Rejected(1, "full", unknown=False, stopped=False),
    Closed(),
]
OPERATIONS = st.tuples(
    st.binary(max_size=9), st.none() | st.binary(max_size=9), st.none() | st.integers(0, 2**62)
)


def test_answers_come_back_byte_by_byte_and_all_at_once():
    stream = b"".join(map(encode, ANSWERS))
    for size in (1, 2, 3, 5, 7, len(stream)):
        splitter = Splitter()
        payloads = []
        for start in range(0, len(stream), size):
            payloads += splitter.feed(stream[start : start + size])
        assert [decode_answer(payload) for payload in payloads] == ANSWERS


@given(st.lists(st.lists(st.lists(OPERATIONS, max_size=4), max_size=4), max_size=4), st.data())
def test_calls_come_back_however_the_stream_is_cut(messages, data):
    stream = b"".join(encode(calls) for calls in messages)
    splitter = Splitter()
    payloads = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        payloads += splitter.feed(stream[:size])
        stream = stream[size:]
    assert [decode_calls(payload) for payload in payloads] == messages


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62))))
def test_results_come_back(pairs):
    assert list(decode_results(encode_results([n for pair in pairs for n in pair]))) == pairs
