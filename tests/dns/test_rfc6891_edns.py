"""EDNS(0): RFC 6891, DO as in RFC 3225; sizes as agreed at DNS flag day 2020."""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest


@pytest.fixture
def web(board):
    return board.register()


def test_an_opt_is_answered_by_an_opt_and_only_then(web):
    assert web.ask("web.service").edns == -1
    reply = web.ask("web.service", use_edns=0, payload=4096)
    assert (reply.edns, reply.payload, reply.ednsflags, reply.options) == (0, 1232, 0, ())


def test_do_is_copied(web):
    assert web.ask("web.service", want_dnssec=True).ednsflags == dns.flags.DO


@pytest.mark.parametrize("name", ["web.service", "nope", "example.com."])
@pytest.mark.parametrize("version", [1, 255])
def test_another_version_is_badvers_whatever_is_asked(web, name, version):
    asked = web.query(name)
    asked.use_edns(version)
    reply = dns.message.from_wire(web.raw(asked.to_wire()))
    assert reply.rcode() == dns.rcode.BADVERS
    assert (reply.edns, reply.answer, bool(reply.flags & dns.flags.AA)) == (0, [], False)


def test_unknown_options_and_flags_are_ignored(web):
    options = [dns.edns.GenericOption(65001, b"x"), dns.edns.GenericOption(dns.edns.NSID, b"")]
    reply = web.ask("web.service", use_edns=0, ednsflags=0x4080, options=options)
    assert (reply.ednsflags, reply.options, len(reply.answer)) == (0, (), 1)


@pytest.mark.parametrize("name", ["nope", "web.service", "example.com."])
def test_every_kind_of_answer_keeps_the_opt(web, name):
    assert web.ask(name, "AAAA", use_edns=0).edns == 0


OPT = bytes.fromhex("0000291000000000000000")
BAD_OPTION = bytes.fromhex("00002910000000000000050001000a00")


@pytest.mark.parametrize(
    ("counts", "records"),
    [
        ((0, 0, 2), OPT + OPT),
        ((1, 0, 0), OPT),
        ((0, 1, 0), OPT),
        ((0, 0, 1), b"\1x" + OPT),
        ((0, 0, 1), BAD_OPTION),
        ((0, 0, 1), OPT[:-1]),
        ((0, 0, 1), b""),
        ((0, 0, 9), OPT * 9),
    ],
    ids=["two", "in-answer", "in-authority", "owner", "option-size", "cut", "missing", "many"],
)
def test_a_misplaced_or_malformed_opt_is_formerr(web, counts, records):
    wire = bytearray(web.query("web.service").to_wire())
    wire[6:12] = b"".join(count.to_bytes(2, "big") for count in counts)
    reply = web.raw(bytes(wire) + records)
    assert reply == wire[:2] + bytes.fromhex("80010000000000000000")
