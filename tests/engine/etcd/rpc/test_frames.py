"""Frames, cut and joined anyhow."""

import pytest
from callboard.registry.engine.etcd.rpc.frames import (
    FRAME_BYTES_MAX,
    PADDED,
    PRIORITY,
    Frame,
    FrameError,
    Kind,
    Setting,
    frame,
    read_frames,
    settings,
)
from hypothesis import given
from hypothesis import strategies as st

FRAMES = st.builds(
    Frame,
    st.sampled_from(list(Kind)),
    st.integers(0, 255),
    st.integers(0, 2**31 - 1),
    st.binary(max_size=300),
)


def encoded(one):
    return frame(Kind(one.kind), one.stream, one.payload, one.flags)


def read_in_pieces(data, sizes):
    """`data` as a socket might give it: so many bytes at a time, and then the rest."""
    frames, left = [], b""
    for size in [*sizes, len(data)]:
        piece, data = data[:size], data[size:]
        found, left = read_frames(left + piece)
        frames += found
    assert left == b""
    return frames


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(0, 40), max_size=20))
def test_what_is_written_is_read_however_it_is_cut(frames, sizes):
    assert read_in_pieces(b"".join(map(encoded, frames)), sizes) == frames


@given(st.binary(max_size=400))
def test_garbage_is_frames_or_a_frame_error(data):
    try:
        frames, _ = read_frames(data)
        for one in frames:
            one.content, one.settings, one.number, one.last_stream  # noqa: B018
    except FrameError:
        pass


def test_a_frame_longer_than_was_agreed_is_refused_at_its_header():
    header = frame(Kind.DATA, 1, bytes(FRAME_BYTES_MAX + 1))[:9]
    with pytest.raises(FrameError, match=str(FRAME_BYTES_MAX + 1)):
        read_frames(header)
    [whole], left = read_frames(frame(Kind.DATA, 1, bytes(FRAME_BYTES_MAX)))
    assert (len(whole.payload), left) == (FRAME_BYTES_MAX, b"")


def test_the_reserved_bit_is_not_part_of_the_number():
    data = bytearray(frame(Kind.DATA, 5, b"x"))
    data[5] |= 0x80
    [one], _ = read_frames(bytes(data))
    assert one.stream == 5


def test_padding_and_priority_are_no_content():
    padded = Frame(Kind.DATA, PADDED, 1, b"\x03text\0\0\0")
    assert padded.content == b"text"
    both = Frame(Kind.HEADERS, PADDED | PRIORITY, 1, b"\x02" + bytes(5) + b"text\0\0")
    assert both.content == b"text"
    assert Frame(Kind.DATA, PRIORITY, 1, b"text").content == b"text"


@pytest.mark.parametrize("payload", [b"", b"\x05abc", b"\x01"])
def test_more_padding_than_frame_is_refused(payload):
    with pytest.raises(FrameError, match="padding"):
        _ = Frame(Kind.DATA, PADDED, 1, payload).content


def test_settings_are_whole():
    [one], _ = read_frames(settings({Setting.ENABLE_PUSH: 0, Setting.INITIAL_WINDOW_SIZE: 70_000}))
    assert one.settings == {2: 0, 4: 70_000}
    with pytest.raises(FrameError, match="half"):
        _ = one._replace(payload=one.payload[:-1]).settings
