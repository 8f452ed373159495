"""Floods over real sockets: one network is held back, others never notice."""

import logging
import socket

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from callboard.dns import RateLimits, mmsg
from callboard.dns.cookies import ServerCookies
from callboard.dns.limiter import LOG_S, LOGGED_MAX, Limiter, network_of, slipped
from callboard.dns.mmsg import BatchedUdp
from callboard.dns.options import EdnsOptions
from callboard.dns.rates import ResponseRates
from callboard.dns.udp import PlainUdp

RATE = 16
"""A power of two, so that sums of its intervals are exact."""
PATHS = [
    pytest.param(
        BatchedUdp,
        marks=pytest.mark.skipif(not mmsg.is_available(), reason="no recvmmsg on this system"),
    ),
    PlainUdp,
]


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def a_limiter(board, clock, *, enforced=True, slip=2):
    return Limiter(
        ResponseRates(RATE, slip), board.responder.counters, enforced=enforced, clock=clock
    )


@pytest.fixture(params=PATHS)
def flood(request, board):
    """`flood(limiter)` serves a socket; it gives a function that asks from an address."""
    board.register("web", "a", "10.0.0.1")
    opened = []

    def start(limiter):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        opened.append(udp)
        server = request.param(udp, board.responder, lambda *_: None, limiter=limiter)

        def ask(source, *packets):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind((source, 0))
                client.setblocking(False)
                for packet in packets:
                    client.sendto(packet, udp.getsockname())
                server.serve(4)
                replies = []
                while True:
                    try:
                        replies.append(client.recv(65_535))
                    except BlockingIOError:
                        return replies

        return ask

    yield start
    for udp in opened:
        udp.close()


@pytest.mark.parametrize("edns", [-1, 0])
def test_a_flood_is_dropped_and_slipped_while_others_are_served(flood, board, edns):
    clock = Clock()
    ask = flood(a_limiter(board, clock))
    query = board.query("web.service", use_edns=edns).to_wire()
    replies = [dns.message.from_wire(reply) for reply in ask("127.0.0.1", *[query] * (RATE + 40))]
    whole = [reply for reply in replies if reply.answer]
    short = [reply for reply in replies if not reply.answer]
    assert (len(whole), len(short)) == (RATE, 20)
    for reply in short:
        assert reply.flags & dns.flags.TC
        assert reply.edns == edns
        assert dns.message.from_wire(query).is_response(reply)
    # The same /24 shares the bucket, another network does not.
    assert not any(dns.message.from_wire(one).answer for one in ask("127.0.0.77", *[query] * 4))
    assert len(ask("127.0.1.1", *[query] * RATE)) == RATE
    clock.now_s += 1
    assert len(ask("127.0.0.1", *[query] * RATE)) == RATE
    events = board.responder.counters.events
    assert (events["rrl_dropped"], events["rrl_slipped"]) == (22, 22)
    assert board.ask("web.service", tcp=True).answer


def test_denials_and_errors_do_not_use_up_answers(flood, board):
    ask = flood(a_limiter(board, Clock()))
    denied = [board.query(f"nobody{n}.service").to_wire() for n in range(RATE + 10)]
    assert len(ask("127.0.0.1", *denied)) == RATE + 5
    refused = [board.query("example.com.").to_wire()] * (RATE + 10)
    assert len(ask("127.0.0.1", *refused)) == RATE
    answered = ask("127.0.0.1", *[board.query("web.service").to_wire()] * RATE)
    assert all(dns.message.from_wire(reply).answer for reply in answered)
    assert len(answered) == RATE


def test_log_only_sends_everything_and_says_so_once(flood, board, caplog):
    ask = flood(a_limiter(board, Clock(), enforced=False))
    query = board.query("web.service").to_wire()
    with caplog.at_level(logging.WARNING):
        assert len(ask("127.0.0.1", *[query] * (RATE + 40))) == RATE + 40
    assert board.responder.counters.events["rrl_logged"] == 40
    (record,) = caplog.records
    assert "127.0.0.0/24" in record.message


@pytest.mark.parametrize("enforced", [True, False])
def test_what_others_reply_to_is_limited_before_it_is_handed_on(board, enforced):
    limiter = a_limiter(board, Clock(), enforced=enforced)
    admitted = [limiter.admits(("192.0.2.1", 53)) for _ in range(RATE + 10)]
    assert admitted == [True] * RATE + [not enforced] * 10
    assert limiter.admits(("198.51.100.1", 53))
    counted = board.responder.counters.events["rrl_dropped" if enforced else "rrl_logged"]
    assert counted == 10


def test_the_log_is_no_target_for_a_flood(board, caplog):
    clock = Clock()
    limiter = a_limiter(board, clock)
    reply = board.register().raw(board.query("web.service").to_wire())
    for second in range(2):
        clock.now_s += LOG_S
        for n in range(100):
            for _ in range(RATE + 1):
                limiter.limit(reply, (f"10.{second}.{n}.1", 53))
    assert len(caplog.records) == 2 * LOGGED_MAX


def test_a_client_that_shows_our_cookie_is_not_limited(flood, board):
    board.responder._options = EdnsOptions(ServerCookies([bytes(16)], lambda: 1_800_000_000))

    def query(cookie):
        option = dns.edns.GenericOption(dns.edns.COOKIE, cookie)
        return board.query("web.service", use_edns=0, options=[option]).to_wire()

    ask = flood(a_limiter(board, Clock()))
    [reply] = ask("127.0.0.1", query(bytes(8)))
    [ours] = dns.message.from_wire(reply).options
    assert len(ask("127.0.0.1", *[query(ours.to_wire())] * (3 * RATE))) == 3 * RATE
    assert len(ask("127.0.0.1", *[query(bytes(24))] * (3 * RATE))) < 3 * RATE
    assert len(ask("127.0.1.1", *[query(ours.to_wire())] * (3 * RATE))) < 3 * RATE, "not theirs"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "0a0102"),
        ("2001:db8:1:2:3::4", "20010db8000100"),
        ("::ffff:10.1.2.3", "0a0102"),
    ],
)
def test_networks(address, network):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert network_of(socket.inet_pton(family, address)).hex() == network


def test_a_slipped_reply_is_never_larger(make_board):
    board = make_board().register("web", "a", "10.0.0.1", ports={})
    for name in ("web.service", "nope.service", "", "example.com."):
        for edns in (-1, 0):
            for rdtype in ("A", "SRV", "SOA", "NS", "ANY"):
                reply = board.raw(board.query(name, rdtype, use_edns=edns).to_wire())
                short = slipped(reply)
                assert len(short) <= len(reply)
                read = dns.message.from_wire(short)
                assert not read.answer
                assert not read.authority
                assert read.edns == edns
                assert read.rcode() == dns.rcode.NOERROR
    assert slipped(board.raw(b"\0" * 12)) == b""


async def test_a_whole_front_limits_when_it_is_told_to(start_front, registry, make_instance):
    registry.put(make_instance())
    front = await start_front(limits=RateLimits("on", RATE, 1))
    asked = dns.message.make_query("web.service.callboard.internal.", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(front.address)
        replies = []
        for _ in range(10 * RATE):
            client.send(asked)
            replies.append(dns.message.from_wire(client.recv(512)))
    assert sum(not reply.answer for reply in replies) > RATE
    assert sum(bool(reply.answer) for reply in replies) >= RATE
