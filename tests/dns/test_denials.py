"""Compiled denials: the same reply as without them, however the board and the names change."""

import dns.message
import dns.name
import pytest
from callboard.dns.denials import SHAPES_MAX, Denials
from hypothesis import given
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


def packet(name, rdtype="A"):
    origin = dns.name.from_text("callboard.internal.")
    return dns.message.make_query(dns.name.from_text(name, origin), rdtype, id=7).to_wire()


def without_serial(reply):
    """A serial may be a moment old; it stands before the last 16 bytes of a SOA."""
    negative = reply[6:8] == b"\0\0"
    return reply[:-20] + reply[-16:] if negative else reply


@given(changes=st.lists(CHANGES, max_size=6))
def test_a_denial_is_what_would_have_been_answered_without_it(make_board, changes):
    board, plain = make_board(), make_board()
    plain.responder._denials.find = lambda _key, _data: None
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


def test_names_that_differ_in_one_label_share_a_denial(board):
    board.register("web", "a", "10.0.0.1")
    for number in range(2000):
        board.responder.respond(packet(f"no{number:06d}.service"))
    assert len(board.responder._denials) == 1
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
    denials = Denials()
    for number in range(3 * SHAPES_MAX):
        key = b"\0" * 10 + b"\1a" + number.to_bytes(4, "big")
        denials.put(key, lambda _label: False, b"", 0, b"", 0)
        assert len(denials) <= SHAPES_MAX


@pytest.mark.parametrize("size", range(14))
def test_a_packet_that_ends_early_is_no_key(size):
    assert Denials().find(b"\x05" * size, b"") is None


def test_a_zone_within_a_zone_is_not_denied(make_board):
    board = make_board(zones=("callboard.internal", "inner.callboard.internal"))
    for _ in range(2):
        assert board.shape("other") == "NXDOMAIN AA 0/1/0"
        assert board.shape("inner") == "NOERROR AA 0/1/0"
        assert board.shape("inner", "SOA") == "NOERROR AA 1/0/0"
