"""Zones of addresses, transferred: each instance's PTR record, and what becomes of it."""

import dns.message
import dns.rcode
import pytest

V4, V6 = "10.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"
INNER = "1.10.in-addr.arpa"


@pytest.fixture
def board(transfer_board):
    return transfer_board(reverse_zones=(V4, V6, INNER))


def pointers(board, zone, serial=None):
    return [
        f"{name} {data}"
        for name, rdtype, data in board.records(zone, serial)
        if rdtype == dns.rdatatype.PTR
    ]


def test_a_zone_has_the_names_of_its_addresses(board, make_instance):
    board.put(
        make_instance(id="a", address="10.0.0.1"),
        make_instance("db", id="b", namespace="prod", address="10.0.0.1"),
        make_instance(id="c", address="192.0.2.1"),
        make_instance(id="d", address="2001:db8::1"),
        make_instance(id="e", address="10.1.0.1"),
        make_instance(id="f", address="db.example"),
    )
    assert sorted(pointers(board, V4)) == [
        "1.0.0 a.web.instance.callboard.internal.",
        "1.0.0 b.db.instance.prod.ns.callboard.internal.",
    ]
    assert pointers(board, INNER) == ["1.0 e.web.instance.callboard.internal."]
    assert pointers(board, V6) == [".".join("1" + "0" * 23) + " d.web.instance.callboard.internal."]
    first, second, *_ = board.records(V4)
    assert first[1:] == board.records(V4)[-1][1:]
    assert str(first[2]).startswith("ns.callboard.internal. hostmaster.callboard.internal. ")
    assert str(second[2]) == "ns.callboard.internal."


def test_a_difference_holds_what_moved(board, make_instance):
    instances = [make_instance(id=f"i{n}", address=f"10.0.0.{n}") for n in range(20)]
    board.put(*instances)
    board.records(V4)
    before = board.index
    board.put(make_instance(id="i1", address="10.0.9.9"))
    board.drop("web", "i2")
    assert pointers(board, V4, before) == [
        "1.0.0 i1.web.instance.callboard.internal.",
        "2.0.0 i2.web.instance.callboard.internal.",
        "9.9.0 i1.web.instance.callboard.internal.",
    ]


def test_what_is_asked_on_such_a_connection_is_answered_from_the_same_copy(board, make_instance):
    board.put(make_instance(id="a", address="10.0.0.1"))
    board.put(make_instance(id="a", address="10.0.0.2"))
    board.transfers.settle()
    for octet, rcode in ((1, dns.rcode.NXDOMAIN), (2, dns.rcode.NOERROR)):
        asked = dns.message.make_query(f"{octet}.0.0.10.in-addr.arpa.", "PTR")
        [wire] = board.send(asked.to_wire())
        assert dns.message.from_wire(wire).rcode() == rcode
