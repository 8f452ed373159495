"""Compiled shapes: the same replies as without them, however the board and the names change."""

from itertools import product

import dns.message
import dns.name
import pytest
from callboard.dns.reply import ROTATIONS_MAX
from callboard.dns.shapes import SHAPES_MAX, Shapes
from hypothesis import given, settings
from hypothesis import strategies as st

LABELS = (
    "web",
    "WEB",
    "nope",
    "v2",
    "gone",
    "service",
    "instance",
    "ns",
    "_tcp",
    "_x",
    "default",
    "a",
)
PLACES = (
    "{}.service", "{}", "{}.web.service", "{}.nope.service", "{}.service.prod.ns", "{}.ns",
    "{}.web.service.prod.ns", r"{}\.prod.service", "x.{}.service",
    "{}.web.instance", "{}.nope.instance", "{}.www", "{}.x.www", "{}.instance.prod.ns",
)  # fmt: skip
SERVICES = ("web", "nope", "v2")
NAMESPACES = ("default", "prod")
CHANGES = st.tuples(st.booleans(), st.sampled_from(SERVICES), st.sampled_from(NAMESPACES))


def packet(name, rdtype="A", size_bytes=None):
    name = dns.name.from_text(name, dns.name.from_text("callboard.internal."))
    edns = {} if size_bytes is None else {"use_edns": 0, "payload": size_bytes}
    return dns.message.make_query(name, rdtype, id=7, **edns).to_wire()


def without_serial(reply):
    """A serial may be a moment old; it stands before the last 16 bytes of a SOA."""
    negative = reply[6:8] == b"\0\0"
    return reply[:-20] + reply[-16:] if negative else reply


@settings(deadline=None)
@given(changes=st.lists(CHANGES, max_size=6))
def test_a_denial_is_what_would_have_been_answered_without_it(make_board, changes):
    board, plain = make_board(), make_board()
    plain.responder._shapes.find = lambda _key: None
    queries = [packet(place.format(label)) for place in PLACES for label in LABELS]
    for put, service, namespace in [(False, "nope", "default"), *changes]:
        for one in (board, plain):
            if put:
                one.register(service, "a", "10.0.0.1", namespace=namespace, tags=("v2", "gone"))
            else:
                one.remove(service, "a", namespace=namespace)
        for query in queries:
            replies = [one.responder.respond(query) for one in (board, plain)]
            assert without_serial(replies[0]) == without_serial(replies[1])


HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "2001:db8::2", "db.example.com", "?")
INSTANCES = st.builds(
    dict,
    address=st.sampled_from(HOSTS[:3]) | st.sampled_from(HOSTS) | st.ip_addresses().map(str),
    port=st.sampled_from((80, 80, 8080, None)),
    status=st.sampled_from(("passing", "passing", "critical")),
    weight=st.integers(0, 70_000),
    tags=st.sampled_from(((), ("v2",))),
)
SERVICES_OF_ANY_SIZE = st.lists(INSTANCES, max_size=3) | st.lists(INSTANCES, max_size=20)
BOARDS = st.lists(SERVICES_OF_ANY_SIZE, min_size=3, max_size=3)
SIZES = st.none() | st.integers(0, 1300) | st.sampled_from((512, 1232, 4096))
SIBLINGS = ("nine-long", "web0", "WEB1", "wEb2", "_tcp", r"web0\.prod", "webnone", r"_web0")
PARENTS = ("service", "service.prod.ns", "Service.default.NS")


@settings(deadline=None, max_examples=25)
@given(services=BOARDS, namespace=st.sampled_from(("default", "prod")), size_bytes=SIZES)
def test_a_name_seen_first_is_answered_as_the_others_are(
    make_board, services, namespace, size_bytes
):
    board, plain = make_board(), make_board()
    plain.responder._shapes.find = lambda _key: None
    for one in (board, plain):
        for number, instances in enumerate(services):
            for n, fields in enumerate(instances):
                one.register(f"web{number}", f"i{n}", namespace=namespace, **fields)
    for label, parent, rdtype in product(SIBLINGS, PARENTS, ("A", "AAAA", "SRV", "ANY", "HTTPS")):
        query = packet(f"{label}.{parent}", rdtype, size_bytes)
        orders = {plain.responder.respond(query) for _ in range(ROTATIONS_MAX + 4)}
        assert {board.responder.respond(query) for _ in range(3)} <= orders


@pytest.mark.parametrize("rdtype", ["A", "AAAA", "SRV"])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("size_bytes", [None, 1232])
def test_services_beside_one_that_was_asked_take_the_short_way(board, rdtype, count, size_bytes):
    for number in range(9):
        for n in range(count):
            host = f"2001:db8::{number}:{n}" if rdtype == "AAAA" else f"10.0.{number}.{n}"
            board.register(f"web{number}", f"i{n}", host)
    queries = [packet(f"web{number}.service", rdtype, size_bytes) for number in range(9)]
    orders = {board.responder.respond(queries[8]) for _ in range(2 * count)}
    board.responder.udp.clear()
    board.responder._answers = None
    first_sight, second_sight, remembered = [
        [board.responder.respond(query) for query in queries] for _ in range(3)
    ]
    assert board.responder.counters.events["internal_error"] == 0
    assert {first_sight[8], second_sight[8], remembered[8]} <= orders


def test_names_that_are_asked_once_are_not_remembered(board):
    for number in range(100, 200):
        board.register(f"web{number}", "a", "10.0.0.1")
    for _ in range(2):
        before = len(board.responder.udp)
        for number in range(100, 200):
            board.shape(f"web{number}.service")
    assert before <= 1
    assert len(board.responder.udp) > 90


def test_names_that_differ_in_one_label_share_a_denial(board):
    board.register("web", "a", "10.0.0.1")
    for number in range(2000):
        board.responder.respond(packet(f"no{number:06d}.service"))
    assert len(board.responder._shapes) == 1
    board.register("no000007", "a", "10.0.0.7")
    assert board.shape("no000007.service", "A") == "NOERROR AA 1/0/0"
    assert board.shape("no000008.service", "A") == "NXDOMAIN AA 0/1/0"


def test_the_serial_of_a_denial_is_refreshed(board):
    board.responder.respond(packet("nope.service"))
    board.responder.changed(4711, [])
    board.responder.refresh_serials()
    reply = dns.message.from_wire(board.responder.respond(packet("nada.service")))
    assert reply.authority[0][0].serial == 4711


def test_invented_shapes_are_bounded():
    shapes = Shapes()
    for number in range(3 * SHAPES_MAX):
        key = b"\0" * 10 + b"\1a" + number.to_bytes(4, "big")
        shapes.put(key, None)
        assert len(shapes) <= SHAPES_MAX


@pytest.mark.parametrize("size", range(14))
def test_a_packet_that_ends_early_is_no_key(size):
    assert Shapes().find(b"\x05" * size) is None


def test_a_zone_within_a_zone_is_not_denied(make_board):
    board = make_board(zones=("callboard.internal", "inner.callboard.internal"))
    for _ in range(2):
        assert board.shape("other") == "NXDOMAIN AA 0/1/0"
        assert board.shape("inner") == "NOERROR AA 0/1/0"
        assert board.shape("inner", "SOA") == "NOERROR AA 1/0/0"
