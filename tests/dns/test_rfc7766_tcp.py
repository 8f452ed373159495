"""DNS over TCP: RFC 7766, RFC 1035 section 4.2.2. Frames alone, then real connections."""

import socket
import struct
from contextlib import contextmanager, suppress

import dns.message
import pytest
from callboard.dns import tcp
from callboard.dns.frames import BadFrame, Frames, framed
from callboard.dns.loop import Loop


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


@contextmanager
def served(board):
    """A TCP server in this thread; `run()` lets it work until nothing is left to be done."""
    loop = Loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        tcp.TcpServer(loop, listener, board.responder, lambda *_: None)

        def run(for_s=0.05):
            loop._stopped = False
            loop.call_later(for_s, loop.stop)
            loop.run()

        yield listener.getsockname(), run
        loop.close()


def test_a_full_server_closes_whoever_has_been_idle_longest(board, monkeypatch):
    monkeypatch.setattr(tcp, "CONNECTIONS_MAX", 3)
    with served(board) as (address, run):
        clients = [socket.create_connection(address, timeout=5) for _ in range(3)]
        run()
        for client in (clients[1], clients[0]):  # the third has never asked, yet came last
            client.sendall(a_query(board, 1))
            run()
            assert read_message(client)
        for n, evicted in enumerate((clients[2], clients[1], clients[0])):
            late = socket.create_connection(address, timeout=5)
            late.sendall(a_query(board, n))
            run()
            assert read_message(late)
            assert read_message(evicted) is None
            clients.append(late)
        assert board.responder.counters.events["tcp_evicted"] == 3
        assert board.responder.counters.events["tcp_refused"] == 0
        for client in clients:
            client.close()
        run()


def test_a_full_server_keeps_those_it_owes_an_answer(board, monkeypatch):
    monkeypatch.setattr(tcp, "CONNECTIONS_MAX", 2)
    with served(board) as (address, run):
        clients = [socket.create_connection(address, timeout=5) for _ in range(2)]
        for client in clients:
            client.sendall(a_query(board, 1)[:-1])
        run()
        with socket.create_connection(address, timeout=5) as late:
            run()
            assert late.recv(1) == b""
        assert board.responder.counters.events["tcp_refused"] == 1
        for client in clients:
            client.sendall(a_query(board, 1)[-1:])
        run()
        assert all(read_message(client) for client in clients)
        for client in clients:
            client.close()
        run()
        with socket.create_connection(address, timeout=5) as late:
            late.sendall(a_query(board, 1))
            run()
            assert read_message(late), "the closed ones have made room"
        run()


def test_one_address_cannot_take_all_connections(board, monkeypatch):
    monkeypatch.setattr(tcp, "CLIENT_CONNECTIONS_MAX", 2)
    with served(board) as (address, run):
        greedy = [socket.create_connection(address, timeout=5) for _ in range(3)]
        run()
        assert greedy[2].recv(1) == b""
        other = socket.create_connection(address, timeout=5, source_address=("127.0.0.2", 0))
        for client in (*greedy[:2], other):
            client.sendall(a_query(board, 1))
        run()
        assert all(read_message(client) for client in (*greedy[:2], other))
        greedy[0].close()
        run()
        with socket.create_connection(address, timeout=5) as late:
            late.sendall(a_query(board, 1))
            run()
            assert read_message(late), "the closed one has made room"
        for client in (*greedy, other):
            client.close()
        run()


def test_an_idle_connection_is_closed(board, monkeypatch):
    monkeypatch.setattr(tcp, "IDLE_S_MAX", 0.05)
    monkeypatch.setattr(tcp, "SWEEP_S", 0.01)
    with served(board) as (address, run), socket.create_connection(address, timeout=5) as client:
        client.sendall(a_query(board, 1))
        run(0.2)
        assert read_message(client)
        assert read_message(client) is None


def test_a_client_that_never_reads_is_closed(board, monkeypatch):
    for n in range(600):
        board.register("many", f"i{n}", f"10.0.{n >> 8}.{n & 255}")
    monkeypatch.setattr(tcp, "WRITE_STALL_S_MAX", 0.05)
    monkeypatch.setattr(tcp, "SWEEP_S", 0.01)
    with served(board) as (address, run), socket.create_connection(address, timeout=5) as client:
        client.setblocking(False)
        client.send(b"".join(a_query(board, n, "many.service") for n in range(900)))
        run(0.5)
        client.settimeout(5)
        with suppress(ConnectionResetError):
            while client.recv(65_536):
                pass
        assert not board.responder.counters.events["internal_error"]


def test_a_client_that_goes_while_it_is_answered_harms_nobody(make_board):
    """Two questions for others, both answered at once, and a reset before the answers."""
    board = make_board(forwards=True)
    loop = Loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        tcp.TcpServer(loop, listener, board.responder, lambda _, reply: reply(bytes(12)))
        client = socket.create_connection(listener.getsockname(), timeout=10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        query = framed(board.query("example.com.", flags="RD").to_wire())
        turn(loop)  # accepted
        client.sendall(query + query)
        client.close()
        turn(loop)
        assert len(loop._callbacks) == 1
    assert not board.responder.counters.events["internal_error"]


def turn(loop):
    for fd, events in loop._ready(10):
        loop._callbacks[fd](events)


def test_what_waits_behind_a_forwarded_question_is_answered_with_it(make_board):
    board = make_board(forwards=True).register("web", "a", "10.0.0.1")
    loop, asked = Loop(), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        tcp.TcpServer(loop, listener, board.responder, lambda _, reply: asked.append(reply))
        with socket.create_connection(listener.getsockname(), timeout=10) as client:
            turn(loop)
            client.sendall(framed(board.query("example.com.", flags="RD").to_wire()))
            turn(loop)
            client.sendall(a_query(board, 1))
            client.shutdown(socket.SHUT_WR)
            asked.pop()(bytes(12))
            while len(loop._callbacks) > 1:
                turn(loop)
            assert read_message(client) == bytes(12)
            assert read_message(client)[:2] == b"\0\1"
            assert read_message(client) is None


def test_clients_that_come_and_go_leave_one_timer(board):
    loop = Loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        tcp.TcpServer(loop, listener, board.responder, lambda *_: None)
        for _ in range(5):
            with socket.create_connection(listener.getsockname(), timeout=10):
                turn(loop)  # accepted
                assert len(loop._callbacks) == 2
            turn(loop)  # and gone
            assert len(loop._callbacks) == 1
    assert len(loop._timers) == 1
    loop.close()
