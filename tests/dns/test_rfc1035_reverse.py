"""From addresses back to names: RFC 1035 section 3.5, RFC 3596 section 2.5."""

import ipaddress

import pytest
from callboard.dns.reverse import NAMES_MAX, parse_reverse_zone
from callboard.dns.wire import labels_of
from hypothesis import given
from hypothesis import strategies as st

ZONES = ("10.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa")


def reverse_of(address):
    return ipaddress.ip_address(address).reverse_pointer + "."


@pytest.fixture
def board(make_board):
    return make_board(reverse_zones=[labels_of(zone) for zone in ZONES])


def ptr(board, address):
    return board.data(reverse_of(address), "PTR")


@pytest.mark.parametrize("address", ["10.1.2.3", "2001:db8::a:1"])
def test_an_address_has_the_names_of_its_instances(board, address):
    board.register("Web", "A", address)
    board.register("db", "b", address, namespace="prod")
    assert ptr(board, address) == {
        "PTR a.web.instance.callboard.internal.",
        "PTR b.db.instance.prod.ns.callboard.internal.",
    }
    assert board.shape(reverse_of(address), "PTR") == "NOERROR AA 2/0/0"
    assert board.shape(reverse_of(address), "ANY", tcp=True) == "NOERROR AA 2/0/0"
    assert board.shape(reverse_of(address), "A") == "NOERROR AA 0/1/0"
    assert {rrset.ttl for rrset in board.ask(reverse_of(address), "PTR").answer} == {5}


def test_what_goes_or_moves_takes_its_name_along(board):
    board.register("web", "a", "10.1.2.3").register("web", "b", "10.1.2.3")
    board.register("web", "a", "10.1.2.4")
    assert ptr(board, "10.1.2.3") == {"PTR b.web.instance.callboard.internal."}
    assert ptr(board, "10.1.2.4") == {"PTR a.web.instance.callboard.internal."}
    board.register("web", "a", "db.example.com")
    board.remove("web", "b")
    assert board.shape("10.in-addr.arpa.", "PTR") == "NOERROR AA 0/1/0"
    assert board.shape(reverse_of("10.1.2.3"), "PTR") == "NXDOMAIN AA 0/1/0"
    assert board.shape("1.10.in-addr.arpa.", "PTR") == "NXDOMAIN AA 0/1/0"


def test_withheld_instances_keep_their_names(board):
    board.register("web", "a", "10.1.2.3", status="critical")
    assert len(ptr(board, "10.1.2.3")) == 1


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("2.1.10.in-addr.arpa.", "NOERROR AA 0/1/0"),
        ("1.10.in-addr.arpa.", "NOERROR AA 0/1/0"),
        ("3.1.10.in-addr.arpa.", "NXDOMAIN AA 0/1/0"),
        ("03.2.1.10.in-addr.arpa.", "NXDOMAIN AA 0/1/0"),
        ("256.2.1.10.in-addr.arpa.", "NXDOMAIN AA 0/1/0"),
        ("x.2.1.10.in-addr.arpa.", "NXDOMAIN AA 0/1/0"),
        ("service.10.in-addr.arpa.", "NXDOMAIN AA 0/1/0"),
        ("1.3.2.1.10.in-addr.arpa.", "NXDOMAIN AA 0/1/0"),
        ("0.0.8.b.d.0.1.0.0.2.ip6.arpa.", "NOERROR AA 0/1/0"),
        ("1.0.8.b.d.0.1.0.0.2.ip6.arpa.", "NXDOMAIN AA 0/1/0"),
        ("10.0.8.b.d.0.1.0.0.2.ip6.arpa.", "NXDOMAIN AA 0/1/0"),
        ("1.168.192.in-addr.arpa.", "REFUSED 0/0/0"),
        ("in-addr.arpa.", "REFUSED 0/0/0"),
    ],
)
def test_the_tree_above_and_beside(board, name, shape):
    board.register("web", "a", "10.1.2.3").register("web", "b", "2001:db8::1")
    for qtype in ("PTR", "A", "SOA"):
        assert board.shape(name, qtype) == shape


def test_the_apex_leads_home(board):
    assert board.data("10.in-addr.arpa.", "NS") == {"NS ns.callboard.internal."}
    [soa] = board.data("10.in-addr.arpa.", "SOA")
    assert soa.startswith("SOA ns.callboard.internal. hostmaster.callboard.internal. 7 ")
    denial = board.ask(reverse_of("10.9.9.9"), "PTR").authority[0]
    assert (str(denial.name), denial.ttl) == ("10.in-addr.arpa.", 5)


def test_a_host_of_many_has_a_bounded_answer(board):
    for number in range(2 * NAMES_MAX):
        board.register("web", f"i{number}", "10.1.2.3")
    reply = board.ask(reverse_of("10.1.2.3"), "PTR", tcp=True)
    assert sum(map(len, reply.answer)) == NAMES_MAX
    for number in range(2 * NAMES_MAX - 1):
        board.remove("web", f"i{number}")
    assert ptr(board, "10.1.2.3") == {f"PTR i{2 * NAMES_MAX - 1}.web.instance.callboard.internal."}


def test_without_reverse_zones_nothing_is_kept(make_board):
    assert make_board().register().responder.store.reverse is None
    assert make_board().shape(reverse_of("10.0.0.1"), "PTR") == "REFUSED 0/0/0"


changes = st.tuples(
    st.sampled_from(("web", "db")),
    st.sampled_from("abcd"),
    st.sampled_from(("10.0.0.1", "10.0.1.1", "10.1.0.1", "2001:db8::1", "x.example.com", None)),
)


@given(st.lists(changes, max_size=30))
def test_whatever_changes_the_index_is_that_of_the_board(make_board, changed):
    board = make_board(reverse_zones=[labels_of(zone) for zone in ZONES])
    held = {}
    for service, instance_id, address in changed:
        if address is None:
            board.remove(service, instance_id)
            held.pop((service, instance_id), None)
        else:
            board.register(service, instance_id, address)
            held[service, instance_id] = address
    for address in ("10.0.0.1", "10.0.1.1", "10.1.0.1", "2001:db8::1"):
        assert ptr(board, address) == {
            f"PTR {instance_id}.{service}.instance.callboard.internal."
            for (service, instance_id), at in held.items()
            if at == address
        }


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("10.0.0.0/8", "10.in-addr.arpa"),
        ("192.0.2.0/24", "2.0.192.in-addr.arpa"),
        ("fd00::/8", "d.f.ip6.arpa"),
        ("10.IN-ADDR.arpa.", "10.in-addr.arpa"),
        ("192.0.2.1/32", "1.2.0.192.in-addr.arpa"),
    ],
)
def test_networks_are_zones(text, zone):
    assert parse_reverse_zone(text) == zone


@pytest.mark.parametrize(
    "text", ["10.0.0.0/9", "0.0.0.0/0", "10.0.0.1/8", "in-addr.arpa", "example.com", "x.ip6.arpa",
             "fd00::/7", ""],
)  # fmt: skip
def test_others_are_not(text):
    with pytest.raises(ValueError, match=r"zone|network|host bits"):
        parse_reverse_zone(text)
