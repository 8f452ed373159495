"""Both UDP paths, batched and plain, against real sockets."""

import errno
import socket

import dns.message
import pytest
from callboard.dns import mmsg
from callboard.dns.mmsg import BATCH_MAX, BatchedUdp
from callboard.dns.responder import Forward
from callboard.dns.udp import PlainUdp

PATHS = [
    pytest.param(
        BatchedUdp,
        marks=pytest.mark.skipif(not mmsg.is_available(), reason="no recvmmsg on this system"),
    ),
    PlainUdp,
]


class Served:
    """A server socket and its server, and a client that has already asked."""

    def __init__(self, path, board, family=socket.AF_INET, **options):
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((host if not options else "", 0))
        self.udp.setblocking(False)
        self.client = socket.socket(family, socket.SOCK_DGRAM)
        self.client.bind((host, 0))
        self.client.connect((host, self.udp.getsockname()[1]))
        self.client.setblocking(False)
        self.forwarded = []
        self.server = path(self.udp, board.responder, self.forward, **options)

    def forward(self, question, client):
        self.forwarded.append((question, client))

    def exchange(self, *packets):
        """What comes back for these, sent before the server looks."""
        for packet in packets:
            self.client.send(packet)
        self.server.serve(2)
        replies = []
        while True:
            try:
                replies.append(self.client.recv(65_535))
            except BlockingIOError:
                return replies

    def close(self):
        self.udp.close()
        self.client.close()


@pytest.fixture(params=PATHS)
def path(request):
    return request.param


@pytest.fixture
def serve(path, board, make_board):
    opened = []

    def start(on=board, **options):
        served = Served(path, on, **options)
        opened.append(served)
        return served

    board.register("web", "a", "10.0.0.1", port=8080)
    yield start
    for served in opened:
        served.close()


def test_every_query_of_a_batch_gets_its_own_reply(serve, board):
    served = serve()
    for _ in range(3):  # first sight, then memory, with other questions in the same buffers
        queries = []
        for n in range(BATCH_MAX + 10):
            name, rdtype = [("web.service", "A"), ("WEB.service", "SRV"), ("nope", "TXT")][n % 3]
            asked = board.query(name, rdtype)
            asked.id = n
            queries.append(asked)
        replies = served.exchange(*(asked.to_wire() for asked in queries))
        assert len(replies) == len(queries)
        for asked, reply in zip(queries, replies, strict=True):
            read = dns.message.from_wire(reply)
            assert asked.is_response(read)
            assert read == dns.message.from_wire(board.raw(asked.to_wire()))


BAD = [b"", b"x", b"\0" * 11, b"\xff" * 40, bytes.fromhex("126780000001000000000000"), bytes(4096)]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("at", [0, 17, 63])
def test_one_bad_packet_never_harms_the_others(serve, board, bad, at):
    served = serve()
    packets = [board.query("web.service").to_wire()] * (BATCH_MAX - 1)
    packets.insert(at, bad)
    replies = served.exchange(*packets)
    good = [reply for reply in replies if reply[:2] == packets[at - 1][:2]]
    assert len(good) == BATCH_MAX - 1
    assert len(replies) - len(good) == (board.raw(bad) is not None)


def test_a_batch_of_silence_is_silent(serve):
    assert serve().exchange(*[b"x"] * BATCH_MAX) == []


def test_a_query_too_long_is_malformed_and_breaks_nothing(serve, board):
    served = serve()
    good = board.query("web.service").to_wire()
    opt = (
        b"\0\0\x29\4\xd0\0\0\0\0" + (9000).to_bytes(2, "big") + b"\0\1" + b"\x23\x24" + bytes(8996)
    )
    long = good[:10] + b"\0\1" + good[12:] + opt
    replies = served.exchange(good, long, good)
    assert [reply[3] & 0xF for reply in replies] == [0, 1, 0]


def test_a_client_that_cannot_be_answered_is_passed_over(serve, board, monkeypatch):
    """A reply that the kernel refuses must not take the rest of its batch with it."""
    served = serve()
    # The kernel refuses port 0, too, if we do not.
    if isinstance(served.server, BatchedUdp):
        monkeypatch.setattr(served.server, "_suspect_ports", frozenset())
    else:
        monkeypatch.setattr(served.server, "_is_own", lambda *_: False)
    good = board.query("web.service").to_wire()
    served.client.send(good)
    forge_from_port_zero(served, good)
    assert len(served.exchange(good, good)) == 3
    assert board.responder.counters.events["unsent"] == 1


def test_nothing_is_sent_to_port_zero(serve, board):
    served = serve()
    good = board.query("web.service").to_wire()
    for _ in range(2):  # first sight, then memory
        served.client.send(good)
        forge_from_port_zero(served, good)
        assert len(served.exchange(good, good)) == 3
    events = board.responder.counters.events
    assert (events["reflected"], events["unsent"]) == (2, 0)


@pytest.mark.parametrize("wildcard", [False, True])
def test_nothing_is_sent_to_ourselves(path, board, wildcard):
    if wildcard and path is PlainUdp:
        pytest.skip("without recvmmsg only loopback is known to be ours")
    served = Served(path, board, **({"reply_from_destination": True} if wildcard else {}))
    query = board.query("web.service").to_wire()
    for _ in range(2):
        served.udp.sendto(query, ("127.0.0.1", served.udp.getsockname()[1]))
        assert len(served.exchange(query, query)) == 2
    assert board.responder.counters.events["reflected"] == 2
    with pytest.raises(BlockingIOError):
        served.udp.recv(1)
    served.close()


def test_our_port_at_another_address_is_a_client(serve, board):
    """Resolvers that ask from port 53 are old, not forged."""
    served = serve()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.2", served.udp.getsockname()[1]))
        client.settimeout(5)
        client.sendto(board.query("web.service").to_wire(), served.udp.getsockname())
        served.server.serve(1)
        assert client.recv(512)
    assert board.responder.counters.events["reflected"] == 0


def forge_from_port_zero(served, query):
    packet = forged_from_port_zero(served.udp.getsockname(), query)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as forger:
            forger.sendto(packet, ("127.0.0.1", 0))
    except PermissionError:
        pytest.skip("forging a source port needs CAP_NET_RAW")


def forged_from_port_zero(address, payload):
    header = [0, address[1], 8 + len(payload), 0]
    return b"".join(number.to_bytes(2, "big") for number in header) + payload


def test_a_full_send_buffer_loses_replies_and_nothing_else(path, board, monkeypatch):
    board.register()
    served = Served(path, board)
    if path is BatchedUdp:

        def refuse(*_args):
            monkeypatch.setattr(mmsg.ctypes, "get_errno", lambda: errno.EAGAIN)
            return -1

        monkeypatch.setattr(served.server, "_send", refuse)
    else:

        class Full:
            recvfrom = staticmethod(served.udp.recvfrom)

            def sendto(self, *_args):
                raise BlockingIOError

        monkeypatch.setattr(served.server, "_udp", Full())
    query = board.query("web.service").to_wire()
    assert served.exchange(query, query) == []
    assert board.responder.counters.events["unsent"] == 2
    served.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_what_is_not_ours_is_handed_on_with_its_client(path, make_board, family):
    board = make_board(forwards=True)
    served = Served(path, board, family)
    assert served.exchange(board.query("example.com.", flags="RD").to_wire()) == []
    ((question, client),) = served.forwarded
    assert isinstance(question, Forward)
    assert client.address[:2] == served.client.getsockname()[:2]
    served.udp.sendmsg([b"reply"], client.ancillary, 0, client.address)
    assert served.exchange() == [b"reply"]
    served.close()


@pytest.mark.parametrize("forwards", [False, True])
@pytest.mark.skipif(not mmsg.is_available(), reason="no recvmmsg on this system")
def test_a_wildcard_listener_replies_from_the_address_that_was_asked(make_board, forwards):
    board = make_board(forwards=forwards).register("web", "a", "10.0.0.1")
    served = Served(BatchedUdp, board, reply_from_destination=True)
    # 127.0.0.2 is ours on loopback, but not what the kernel would choose to reply from.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(5)
        name = "example.com." if forwards else "web.service"
        for _ in range(3):
            query = board.query(name, flags="RD").to_wire()
            client.sendto(query, ("127.0.0.2", served.udp.getsockname()[1]))
            served.server.serve(1)
            for _, back in served.forwarded:
                ((_, _, data),) = back.ancillary
                assert data[:4] == bytes(4), "the route to the client decides the interface"
                served.udp.sendmsg([query], back.ancillary, 0, back.address)
            served.forwarded.clear()
            assert client.recvfrom(512)[1][0] == "127.0.0.2"
    served.close()


def test_fast_and_slow_queries_are_counted_apart(serve, board):
    query = board.query("web.service").to_wire()
    serve().exchange(query, query, query)
    counted = {tuple(kind): count for kind, count in board.responder.counters.queries().items()}
    assert counted == {
        ("udp", "slow", "A", "NOERROR"): 1,
        ("udp", "fast", "A", "NOERROR"): 2,
    }
