"""EDNS options in what a secondary is answered: as in every other answer."""

import dns.edns
import dns.message
import dns.rcode
import pytest
from callboard.dns.options import EdnsOptions

COOKIE = bytes(range(8))


@pytest.fixture
def board(transfer_board, make_instance):
    options = EdnsOptions.configured([bytes(16)], lambda: 1_700_000_000.0, b"here", 10.0)
    made = transfer_board(options=options)
    made.put(make_instance())
    made.transfers.settle()
    return made


def options_in(board, rdtype, *options, tcp=True):
    query = dns.message.make_query("callboard.internal.", rdtype, use_edns=0, options=options)
    [wire] = board.send(query.to_wire(), tcp=tcp)
    reply = dns.message.from_wire(wire)
    return reply.rcode(), {one.otype: one for one in reply.options}


@pytest.mark.parametrize("rdtype", ["AXFR", "SOA"])
def test_cookies_and_nsid_are_answered(board, rdtype):
    asked = (dns.edns.CookieOption(COOKIE, b""), dns.edns.NSIDOption(b""))
    rcode, told = options_in(board, rdtype, *asked)
    assert rcode == dns.rcode.NOERROR
    cookie = told[dns.edns.OptionType.COOKIE]
    assert (cookie.client, len(cookie.server)) == (COOKIE, 16)
    assert told[dns.edns.OptionType.NSID].nsid == b"here"


@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR", "SOA"])
def test_a_malformed_cookie_is_formerr(board, rdtype):
    asked = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, COOKIE + b"x")
    assert options_in(board, rdtype, asked) == (dns.rcode.FORMERR, {})


def test_nothing_is_said_that_was_not_asked(board):
    assert options_in(board, "AXFR") == (dns.rcode.NOERROR, {})
