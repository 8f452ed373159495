"""DNS over TCP: RFC 7766, RFC 1035 section 4.2.2. Frames alone, then real connections."""

import socket
import struct

import dns.message
import pytest
from callboard.dns.frames import BadFrame, Frames, framed


def test_frames_come_whole_however_they_arrive():
    messages = [bytes([n]) * (12 + n) for n in range(20)]
    stream = b"".join(map(framed, messages))
    for step in (1, 2, 3, 13, len(stream)):
        frames, found = Frames(), []
        for at in range(0, len(stream), step):
            frames.feed(stream[at : at + step])
            while (message := frames.next()) is not None:
                found.append(message)
        assert found == messages
        assert not frames.is_partial


@pytest.mark.parametrize("size", [0, 1, 11])
def test_a_length_that_no_message_has_is_refused(size):
    frames = Frames()
    frames.feed(framed(bytes(size)))
    with pytest.raises(BadFrame):
        frames.next()


@pytest.fixture
async def connect(start_front, registry, make_instance):
    registry.put(make_instance())
    for n in range(600):
        registry.put(make_instance("many", f"i{n}", f"10.0.{n >> 8}.{n & 255}"))
    front = await start_front()
    opened = []

    def start():
        connection = socket.create_connection(front.address, timeout=10)
        opened.append(connection)
        return connection

    yield start
    for connection in opened:
        connection.close()


def read_message(connection):
    """The next message; None at the end of the stream."""
    data = b""
    size = None
    while size is None or len(data) < size:
        received = connection.recv((2 if size is None else size) - len(data))
        if not received:
            assert not data
            return None
        data += received
        if size is None and len(data) == 2:
            size, data = struct.unpack("!H", data)[0], b""
    return data


def a_query(board, number, name="web.service", rdtype="A"):
    asked = board.query(name, rdtype)
    asked.id = number
    return framed(asked.to_wire())


async def test_a_hundred_pipelined_queries_are_answered_in_order(connect, board):
    connection = connect()
    connection.sendall(b"".join(a_query(board, n) for n in range(100)))
    assert [read_message(connection)[:2] for _ in range(100)] == [
        n.to_bytes(2, "big") for n in range(100)
    ]


async def test_a_query_may_come_byte_by_byte(connect, board):
    connection = connect()
    for byte in a_query(board, 1):
        connection.sendall(bytes((byte,)))
    assert dns.message.from_wire(read_message(connection)).answer


async def test_half_closing_gets_the_answers_first(connect, board):
    connection = connect()
    connection.sendall(b"".join(a_query(board, n) for n in range(3)))
    connection.shutdown(socket.SHUT_WR)
    assert [read_message(connection) is None for _ in range(4)] == [False] * 3 + [True]


@pytest.mark.parametrize(
    "stream",
    [framed(b""), framed(b"12345"), framed(bytes.fromhex("126780000001000000000000"))],
    ids=["zero length", "five bytes", "a response"],
)
async def test_nonsense_closes_the_connection(connect, board, stream):
    connection = connect()
    connection.sendall(a_query(board, 1) + stream)
    assert read_message(connection)[:2] == b"\0\1"
    assert read_message(connection) is None


async def test_a_malformed_question_is_formerr_and_the_connection_stays(connect, board):
    connection = connect()
    connection.sendall(framed(bytes.fromhex("126700000001000000000000ff")) + a_query(board, 2))
    assert read_message(connection)[3] & 0xF == 1
    assert read_message(connection)[:2] == b"\0\2"


async def test_a_slow_reader_gets_everything_and_holds_up_nobody(connect, board):
    """150 answers of 9 KB each: far more than is kept for a client that does not read."""
    slow, other = connect(), connect()
    slow.sendall(b"".join(a_query(board, n, "many.service") for n in range(150)))
    other.sendall(a_query(board, 1))
    assert read_message(other)[:2] == b"\0\1"
    for n in range(150):
        message = read_message(slow)
        assert int.from_bytes(message[:2], "big") == n
        assert len(message) > 9000


async def test_a_partial_message_is_given_two_seconds_in_all(connect, board):
    connection = connect()
    connection.sendall(a_query(board, 1)[:-1])
    assert read_message(connection) is None
