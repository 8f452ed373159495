"""Reading an upstream's replies: bounded, suspicious, and exact about TTLs."""

import dns.flags
import dns.message
import dns.rrset
import pytest
from callboard.dns.query import parse_query
from callboard.dns.relay import Relayed, Truncated, client_reply, read_upstream, upstream_query
from hypothesis import given, settings
from hypothesis import strategies as st

ID = b"\x12\x34"
NAME = "www.example.com."


def asked(**options):
    return parse_query(dns.message.make_query(NAME, "A", **options).to_wire())


def upstream(*, answer=(), authority=(), additional=(), rcode=0, flags=0, edns=True):
    reply = dns.message.make_response(dns.message.make_query(NAME, "A", use_edns=edns or False))
    reply.id = 0x1234
    reply.set_rcode(rcode)
    reply.flags |= flags
    for section, texts in (
        (reply.answer, answer),
        (reply.authority, authority),
        (reply.additional, additional),
    ):
        section.extend(dns.rrset.from_text(*text.split(maxsplit=4)) for text in texts)
    return reply.to_wire(max_size=65_535)


def read(wire, **options):
    return read_upstream(wire, ID, asked().question, **options)


ALIAS = (f"{NAME} 300 IN CNAME a.example.net.", "a.example.net. 60 IN A 192.0.2.1")
SOA = "example.com. 900 IN SOA ns.example.com. host.example.com. 1 2 3 4 120"


def test_our_question_upstream_is_our_own():
    query = asked(use_edns=0, want_dnssec=True, payload=4096)
    sent = dns.message.from_wire(upstream_query(ID, query))
    assert (sent.id, sent.payload, sent.flags) == (0x1234, 1232, dns.flags.RD)
    assert sent.ednsflags == dns.flags.DO


def test_a_reply_is_handed_on_with_our_header_and_opt():
    relayed = read(upstream(answer=ALIAS, flags=dns.flags.AA | dns.flags.AD))
    assert relayed.ttl_s == 60
    query = asked(use_edns=0)
    reply = dns.message.from_wire(client_reply(relayed, b"\0\7", query, 1232))
    assert (reply.id, reply.flags) == (7, dns.flags.QR | dns.flags.RD | dns.flags.RA)
    assert [rrset.to_text() for rrset in reply.answer] == list(ALIAS)
    assert (reply.edns, reply.payload) == (0, 1232)
    assert dns.message.from_wire(client_reply(relayed, b"\0\7", asked(), 512)).edns == -1


def test_ttls_are_counted_down_and_not_below_nothing():
    relayed = read(upstream(answer=ALIAS))
    reply = dns.message.from_wire(client_reply(relayed, ID, asked(), 512, age_s=100))
    assert [rrset.ttl for rrset in reply.answer] == [200, 0]


@pytest.mark.parametrize(
    ("options", "ttl_s"),
    [
        ({"authority": (SOA,), "rcode": 3}, 120),
        ({"authority": (SOA,)}, 120),
        ({"rcode": 3}, 0),
        ({}, 0),
        ({"rcode": 2}, 0),
        ({"rcode": 5, "authority": (SOA,)}, 0),
        ({"answer": (f"{NAME} 999999 IN A 192.0.2.1",)}, 3600),
        ({"answer": (f"{NAME} 0 IN A 192.0.2.1",)}, 0),
    ],
)
def test_how_long_a_reply_may_be_remembered(options, ttl_s):
    assert read(upstream(**options)).ttl_s == ttl_s


def test_what_does_not_fit_is_truncated():
    many = tuple(f"x{n}.example.com. 60 IN A 192.0.2.{n}" for n in range(60))
    relayed = read(upstream(answer=many))
    for limit, tc in ((512, True), (65_535, False)):
        reply = client_reply(relayed, ID, asked(), limit)
        assert bool(dns.message.from_wire(reply).flags & dns.flags.TC) == tc


def test_a_truncated_reply_sends_us_to_tcp():
    wire = upstream(flags=dns.flags.TC)
    assert read(wire) == Truncated()
    assert read(wire, tcp=True).rcode == 2


def test_what_follows_the_opt_is_dropped_with_it():
    wire = bytearray(upstream(answer=ALIAS[1:]))
    wire += b"\1x\0\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
    wire[10:12] = b"\0\2"
    relayed = read(bytes(wire))
    assert relayed.counts == (1, 0, 0)
    assert len(dns.message.from_wire(client_reply(relayed, ID, asked(), 512)).answer) == 1


GOOD = upstream(answer=ALIAS)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        GOOD[:11],
        GOOD[:40],
        b"\x12\x35" + GOOD[2:],
        GOOD[:2] + b"\1\0" + GOOD[4:],
        GOOD[:5] + b"\2" + GOOD[6:],
        GOOD[:13] + b"W3w" + GOOD[16:],
        GOOD[:7] + b"\3" + GOOD[8:],
        GOOD[:-3],
    ],
    ids=["empty", "header", "cut", "id", "a query", "questions", "name", "counts", "opt"],
)
def test_anything_but_a_sound_reply_to_this_question_is_ignored(wire):
    assert read(wire) is None


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_mutated_replies_do_no_harm(data):
    wire = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 5))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    for packet in (bytes(wire), bytes(wire[: data.draw(st.integers(0, len(wire)))])):
        found = read(packet)
        if isinstance(found, Relayed):
            reply = client_reply(found, ID, asked(), 512, age_s=3)
            assert 12 < len(reply) <= 512
