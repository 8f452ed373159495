"""What does not fit: RFC 2181 section 9, sizes of RFC 1035 and RFC 6891."""

import pytest

HEADER = 12


@pytest.fixture
def crowd(board):
    """100 addresses: 1,600 bytes, more than any UDP answer."""
    for n in range(100):
        board.register("many", f"i{n}", f"10.0.1.{n}", port=n + 1)
    for n in range(30):
        board.register("some", f"i{n}", f"10.0.0.{n}", port=n + 1)
    return board


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("some.service", None, "NOERROR AA TC 0/0/0"),
        ("some.service", 0, "NOERROR AA TC 0/0/0"),
        ("some.service", 511, "NOERROR AA TC 0/0/0"),
        ("some.service", 600, "NOERROR AA 30/0/0"),
        ("many.service", 1232, "NOERROR AA TC 0/0/0"),
        ("many.service", 65535, "NOERROR AA TC 0/0/0"),
    ],
)
def test_udp_is_cut_to_nothing_with_tc(crowd, name, payload, expected):
    edns = {} if payload is None else {"use_edns": 0, "payload": payload}
    assert crowd.shape(name, **edns) == expected
    assert (crowd.ask(name, **edns).edns == 0) == (payload is not None), "the OPT is kept"


def test_tcp_has_room_for_all(crowd):
    assert crowd.shape("many.service", tcp=True) == "NOERROR AA 100/0/0"
    assert crowd.shape("many.service", tcp=True, use_edns=0, payload=512) == "NOERROR AA 100/0/0"
    assert crowd.shape("many.service", "SRV", tcp=True) == "NOERROR AA 100/0/100"


def test_additional_records_go_first_and_without_tc(board):
    for n in range(8):
        board.register("web", f"i{n}", f"10.0.0.{n}", port=n + 1)
    assert board.shape("web.service", "SRV") == "NOERROR AA 8/0/0"
    assert board.shape("web.service", "SRV", use_edns=0, payload=1232) == "NOERROR AA 8/0/8"


def test_more_than_a_message_holds_is_cut_even_over_tcp(board):
    for n in range(5000):
        board.register("huge", f"i{n}", f"10.1.{n >> 8}.{n & 255}")
    reply = board.ask("huge.service", tcp=True)
    assert board.shape("huge.service", tcp=True) == "NOERROR AA TC 4092/0/0"
    assert len(board.raw(board.query("huge.service").to_wire(), tcp=True)) <= 65_535
    assert reply.answer
    assert board.shape("huge.service", "AAAA", tcp=True) == "NOERROR AA 0/1/0"


def test_no_pointer_reaches_beyond_fourteen_bits(board):
    """SRV answers over 16 KiB go out without addresses: nothing could point at the targets."""
    for n in range(400):
        board.register("huge", f"i{n}", f"10.1.{n >> 8}.{n & 255}")
    assert board.shape("huge.service", "SRV", tcp=True) == "NOERROR AA 400/0/0"
