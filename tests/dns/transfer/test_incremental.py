"""IXFR (RFC 1995): what is applied to the old zone gives the new one, whatever has changed."""

import socket
from collections import Counter

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from callboard.dns.frames import framed
from callboard.dns.loop import Loop
from callboard.dns.projection import key_of, pack_record
from callboard.dns.transfer import board as board_module
from callboard.dns.transfer.board import BoardCopy
from callboard.dns.transfer.connections import Connections
from callboard.dns.transfer.keys import key_name, parse_keys
from callboard.dns.transfer.tsig import Signer
from callboard.registry.instance import Status
from hypothesis import given, settings
from hypothesis import strategies as st

SERVICES = ("web", "db")
PUTS = st.builds(
    dict,
    service=st.sampled_from(SERVICES),
    namespace=st.sampled_from(("default", "prod")),
    id=st.sampled_from(("a", "b", "c")),
    address=st.sampled_from(("10.0.0.1", "10.0.0.2", "2001:db8::1", "db.example")),
    port=st.sampled_from((None, 80)),
    tags=st.lists(st.sampled_from(("v2", "v3")), max_size=2).map(tuple),
    status=st.sampled_from((Status.PASSING, Status.CRITICAL)),
)
DROPS = st.tuples(st.sampled_from(SERVICES), st.sampled_from(("a", "b", "c")))
CHANGES = st.lists(st.one_of(PUTS, DROPS, st.just("settle")), min_size=1, max_size=12)


SECRET = "A" * 43 + "="


def serial_of(records):
    return records[0][2].serial


def apply_difference(zone, records):
    """As a secondary does it (RFC 1995 section 4); the zone's records with their counts."""
    assert records[0] == records[-1]
    assert records[1][1] == dns.rdatatype.SOA
    zone = Counter(zone)
    adding = False
    for name, rdtype, rdata in records[2:-1]:
        if rdtype == dns.rdatatype.SOA:
            adding = not adding
            assert adding, "one condensed difference"
            continue
        zone[name, rdtype, rdata] += 1 if adding else -1
        assert zone[name, rdtype, rdata] in (0, 1), "deleted twice, or added twice"
    return +zone


def change(board, make_instance, what):
    if what == "settle":
        board.transfers.settle()
    elif isinstance(what, dict):
        board.put(make_instance(**what))
    else:
        board.drop(*what)


def content(records):
    return Counter(records[1:-1])


@settings(max_examples=25, deadline=None)
@given(before=CHANGES, after=CHANGES)
def test_an_incremental_transfer_makes_the_new_zone_of_the_old(
    transfer_board, make_instance, before, after
):
    board = transfer_board()
    board.put(*[make_instance("many", f"i{n}", f"10.0.1.{n}") for n in range(30)])
    for what in before:
        change(board, make_instance, what)
    old = board.records()
    for what in after:
        change(board, make_instance, what)
    new = board.records()
    found = board.records(serial=serial_of(old))
    assert serial_of(found) == serial_of(new) == board.index
    if len(found) == 1:
        assert serial_of(old) == serial_of(new)
    else:
        assert found[1][2].serial == serial_of(old)
        assert apply_difference(content(old), found) == content(new)


def several(make_instance, count):
    return [make_instance(id=f"i{n}", address=f"10.0.0.{n}") for n in range(count)]


def test_who_has_it_already_or_something_newer_gets_the_serial(transfer_board, make_instance):
    board = transfer_board()
    board.put(make_instance())
    assert len(board.records(serial=2)) == 1
    assert len(board.records(serial=3)) == 1


def test_a_serial_stands_for_all_that_belongs_to_it(transfer_board, make_instance):
    board = transfer_board()
    one, two, three = several(make_instance, 3)
    board.put(one)
    old = board.records()
    board.transfers.board.note(0, [(b"web", pack_record(two))])
    assert board.records() == old
    assert len(board.records(serial=serial_of(old))) == 1
    board.put(three)
    new = board.records()
    assert serial_of(new) == serial_of(old) + 1
    assert apply_difference(content(old), board.records(serial=serial_of(old))) == content(new)


def test_a_negative_answer_carries_the_serial_of_now(transfer_board, make_instance):
    board = transfer_board()
    board.put(make_instance())
    board.transfers.settle()
    query = dns.message.make_query("web.service.callboard.internal.", "MX").to_wire()

    def serial():
        [reply] = board.send(query)
        [soa] = dns.message.from_wire(reply).authority
        return soa[0].serial

    before = serial()
    board.put(make_instance("db"))
    board.transfers.settle()
    assert serial() == before + 1


def test_strangers_over_tcp_make_no_steps(transfer_board, make_instance):
    """Each is remembered for those who may have the zone, and only so many are."""
    query = framed(dns.message.make_query("callboard.internal.", "AXFR").to_wire())
    for grants, settled in (((), False), (("127.0.0.1/32",), True)):
        board = transfer_board(grants=grants)
        board.put(make_instance())
        loop = Loop()
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection(listener.getsockname(), timeout=10) as client,
        ):
            Connections(loop, board.transfers).take(listener.accept()[0], query)
            assert board.transfers.board.is_settled is settled
            client.close()
            while loop._callbacks:
                for fd, events in loop._ready(10):
                    loop._callbacks[fd](events)


@pytest.mark.parametrize("serial", [7, 0, 4000000000])
def test_an_unknown_serial_gets_the_whole_zone(transfer_board, make_instance, serial):
    board = transfer_board()
    board.index = 5000
    board.put(*several(make_instance, 3))
    assert board.records(serial=serial) == board.records()


def test_serials_wrap(transfer_board, make_instance):
    """RFC 1982: the registry's index modulo 2^32."""
    board = transfer_board()
    board.index = 2**32 - 2
    board.put(*several(make_instance, 20))
    old = board.records()
    board.index += 3
    board.drop("web", "i3")
    assert (serial_of(old), serial_of(board.records())) == (2**32 - 1, 3)
    found = board.records(serial=2**32 - 1)
    assert apply_difference(content(old), found) == content(board.records())


def test_the_history_is_bounded(transfer_board, make_instance, monkeypatch):
    monkeypatch.setattr(board_module, "HISTORY_BYTES_MAX", 4000)
    board = transfer_board()
    board.put(*several(make_instance, 20))
    board.transfers.settle()
    for n in range(40):
        board.put(make_instance(id=f"i{n % 20}", address=f"10.1.0.{n}"))
        board.transfers.settle()
    copy = board.transfers.board
    assert copy._history_bytes <= 4000
    assert copy._history_bytes == sum(step.size_bytes for step in copy._steps)
    assert copy.since(5) is None
    assert copy.since(board.index - 1) is not None


def test_a_new_copy_of_the_board_does_not_end_the_history(transfer_board, make_instance):
    """The feed starts over when it was too slow: secondaries need not transfer all again."""
    board = transfer_board()
    instances = several(make_instance, 20)
    board.put(*instances)
    old = board.records()
    fresh = BoardCopy()
    fresh.note(0, [(key_of("default", "web"), pack_record(one)) for one in reversed(instances[1:])])
    board.transfers.replace(9, fresh)
    found = board.records(serial=serial_of(old))
    assert found[1][1] == dns.rdatatype.SOA
    assert apply_difference(content(old), found) == content(board.records())
    assert len(found) < 20


def test_over_udp_what_does_not_fit_is_the_serial_alone(transfer_board, make_instance):
    board = transfer_board()
    board.put(*several(make_instance, 100))
    board.transfers.settle()
    board.drop("web", "i1")
    board.transfers.settle()

    def ask(serial):
        query = dns.message.make_query("callboard.internal.", "IXFR", use_edns=0, payload=4096)
        soa = f"ns.callboard.internal. h.callboard.internal. {serial} 1 1 1 1"
        query.authority.append(dns.rrset.from_text("callboard.internal.", 0, "IN", "SOA", soa))
        (reply,) = board.send(query.to_wire(), tcp=False)
        assert len(reply) <= 1232
        return dns.message.from_wire(reply, one_rr_per_rrset=True).answer

    assert len(ask(2)) > 4
    assert len(ask(1)) == 1
    assert len(ask(3)) == 1


@pytest.mark.parametrize(
    ("name", "rdtype", "tcp", "host", "rcode"),
    [
        ("callboard.internal.", "AXFR", True, "127.0.0.1", "NOERROR"),
        ("callboard.internal.", "AXFR", True, "::ffff:127.0.0.1", "NOERROR"),
        ("callboard.internal.", "AXFR", True, "127.0.0.2", "REFUSED"),
        ("callboard.internal.", "AXFR", True, "2001:db8::1", "REFUSED"),
        ("callboard.internal.", "AXFR", False, "127.0.0.1", "NOTIMP"),
        ("web.service.callboard.internal.", "AXFR", True, "127.0.0.1", "NOTAUTH"),
        ("example.", "AXFR", True, "127.0.0.1", "NOTAUTH"),
        ("callboard.internal.", "IXFR", True, "127.0.0.1", "FORMERR"),
        ("callboard.internal.", "IXFR", False, "127.0.0.2", "REFUSED"),
        ("callboard.internal.", "SOA", True, "127.0.0.2", "NOERROR"),
    ],
)
def test_requests_and_their_rcodes(transfer_board, name, rdtype, tcp, host, rcode):
    board = transfer_board(grants=("127.0.0.1",))
    query = dns.message.make_query(name, rdtype)
    (reply,) = board.send(query.to_wire(), host, tcp=tcp)
    read = dns.message.from_wire(reply)
    assert dns.rcode.to_text(read.rcode()) == rcode
    assert read.question == query.question


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 100),
    tcp=st.booleans(),
    signed=st.booleans(),
)
def test_mutated_requests_do_no_harm(transfer_board, changes, cut, tcp, signed):
    keys = parse_keys(f'key "k" {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    board = transfer_board(keys=keys)
    query = dns.message.make_query("callboard.internal.", "IXFR")
    soa = "ns.callboard.internal. h.callboard.internal. 1 1 1 1 1"
    query.authority.append(dns.rrset.from_text("callboard.internal.", 0, "IN", "SOA", soa))
    wire = query.to_wire()
    if signed:
        wire = Signer(keys[key_name("k")]).sign(wire, 1_700_000_000)
    mutated = bytearray(wire[: max(1, len(wire) - cut)])
    for at, value in changes:
        mutated[at % len(mutated)] = value
    for reply in board.send(bytes(mutated), tcp=tcp):
        assert reply[:2] == mutated[:2]
        assert reply[2] & 0x80
