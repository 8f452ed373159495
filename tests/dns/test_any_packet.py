"""Whatever arrives: no exception, no answer too large, nothing that dnspython cannot read."""

import sys
import time

import dns.flags
import dns.message
import pytest
from callboard.dns import wire
from callboard.registry.instance import Port
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = [
    "web.service", "WEB.Service", "v2.web.service", "_web._tcp", "_metrics._tcp.web.service",
    "a.web.instance", "0a000001.addr", "many.service", "host.service", "loop.service", "ns",
    "nope.service", "service", "", "example.com.", "api.service.prod.ns",
]  # fmt: skip
TYPES = ["A", "AAAA", "SRV", "TXT", "ANY", "SOA", "NS", "CNAME", "HTTPS", "AXFR", "TYPE97"]


@pytest.fixture(scope="module")
def board(make_board):
    made = make_board()
    made.register("web", "a", "10.0.0.1", tags=("v2",), ports={"metrics": Port(1)}, meta={"k": "v"})
    made.register("web", "b", "2001:db8::1").register("host", "a", "db.example.com")
    made.register("loop", "a", "loop.service.callboard.internal")
    made.register("api", "a", "10.0.0.1", namespace="prod")
    for n in range(100):
        made.register("many", f"i{n}", f"10.0.0.{n}", meta={"n": str(n)})
    return made


def queries(board):
    def made(name, rdtype, payload, do, rd, ident):
        asked = board.query(name, rdtype, flags="RD" if rd else "")
        asked.id = ident
        if payload is not None:
            asked.use_edns(0, wire.EDNS_DO if do else 0, payload)
        return asked.to_wire()

    return st.builds(
        made,
        st.sampled_from(NAMES),
        st.sampled_from(TYPES),
        st.none() | st.integers(0, 65535),
        st.booleans(),
        st.booleans(),
        st.integers(0, 65535),
    )


def mutated(packet, edits):
    packet = bytearray(packet)
    for place, byte, kind in edits:
        at = place % (len(packet) or 1)
        if kind == "set":
            packet[at : at + 1] = bytes((byte,))
        elif kind == "insert":
            packet[at:at] = bytes((byte,))
        elif kind == "cut":
            del packet[at:]
        else:
            packet += packet[at : at + byte]
    return bytes(packet)


EDITS = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.integers(0, 255),
        st.sampled_from(("set", "set", "set", "insert", "cut", "repeat")),
    ),
    max_size=6,
)


def check(board, packet, tcp):
    reply = board.raw(packet, tcp)
    assert board.responder.counters.events["internal_error"] == 0
    if len(packet) < wire.HEADER_BYTES or packet[2] & 0x80:
        assert reply is None
        return
    assert isinstance(reply, bytes)
    read = dns.message.from_wire(reply)
    assert reply[:2] == packet[:2]
    assert read.flags & dns.flags.QR
    assert reply[2] & 0x78 == packet[2] & 0x78, "the opcode is echoed"
    if not tcp:
        offered = dns_payload(packet)
        assert len(reply) <= min(max(offered, 512), wire.UDP_BYTES_MAX)


def dns_payload(packet):
    """What the client takes, as dnspython reads it; the most that is allowed if it cannot."""
    try:
        read = dns.message.from_wire(packet, ignore_trailing=True)
    except Exception:  # noqa: BLE001  # dnspython refuses hostile packets in many ways
        return wire.UDP_BYTES_MAX
    return read.payload if read.edns >= 0 else 512


@given(st.data(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_queries_get_replies_that_others_can_read(board, data, tcp):
    packet = data.draw(queries(board))
    for _ in range(2):  # the first may come from the slow path, the second from memory
        check(board, packet, tcp)


@given(st.data(), EDITS, st.booleans())
@settings(max_examples=1500, deadline=None)
def test_mutated_queries_do_no_harm(board, data, edits, tcp):
    check(board, mutated(data.draw(queries(board)), edits), tcp)


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=500, deadline=None)
def test_random_bytes_do_no_harm(board, packet, tcp):
    check(board, packet, tcp)


@given(st.data(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_memory_and_first_sight_agree(board, data, tcp):
    """A reply from the cache is the one that would have been compiled, but for the order."""
    packet = data.draw(queries(board))
    first = dns.message.from_wire(board.raw(packet, tcp))
    second = dns.message.from_wire(board.raw(packet, tcp))
    for cache in (board.responder.udp, board.responder.tcp):
        cache.clear()
    third = dns.message.from_wire(board.raw(packet, tcp))
    # dnspython compares sections as sets
    assert first == second == third
    assert first.flags == second.flags == third.flags


def test_the_worst_packets_take_little_work(board, capsys):
    """Steps, not seconds: each packet may cost the parser about one step a byte, no more."""
    header = bytes.fromhex("126700000001000000000000")
    many_labels = header + b"\1x" * 114 + b"\x09callboard\x08internal\0" + b"\0\1\0\1"
    pointers = header[:10] + b"\0\7" + b"\3web\0\0\1\0\1" + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\0" * 7
    long_name = header[:10] + b"\0\1" + b"\0\0\1\0\1" + b"\x3f" * 4000
    options = header[:10] + b"\0\1" + b"\3web\0\0\1\0\1" + b"\0\0\x29\4\xd0\0\0\0\0"
    options += (4000).to_bytes(2, "big") + b"\0\1\0\0" * 1000
    slowest_ms = 0.0
    for packet in (many_labels, pointers, long_name, options):
        steps = count_lines(lambda packet=packet: board.raw(packet))
        assert steps < 200 + 4 * len(packet)
        took = []
        for _ in range(20):
            started = time.perf_counter()
            board.raw(packet)
            took.append(time.perf_counter() - started)
        slowest_ms = max(slowest_ms, min(took) * 1000)
    with capsys.disabled():
        print(f" [slowest hostile packet: {slowest_ms:.3f} ms]", end="")  # noqa: T201  # reported, never judged


def count_lines(call):
    """Lines of Python that `call` runs."""
    lines = 0

    def trace(_frame, event, _arg):
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines
