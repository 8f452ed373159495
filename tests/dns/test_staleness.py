"""A copy that grows old: for how long it is told, and what is said instead."""

import asyncio

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
from callboard.dns.freshness import Freshness
from callboard.dns.responder import Forward
from callboard.dns_metrics import dns_metrics

PATIENCE_S = 10


def test_age_is_counted_from_what_the_registry_said():
    freshness = Freshness(60, 100.0)
    assert (freshness.age_s(130.0), freshness.is_expired(160.0)) == (30.0, False)
    assert freshness.is_expired(160.1)
    freshness.heard(140.0)
    assert freshness.age_s(160.1) == pytest.approx(20.1)
    assert not freshness.is_expired(160.1)
    freshness.heard(170.0)
    assert freshness.age_s(160.0) == 0, "never from the future"
    assert not Freshness(float("inf"), 0.0).is_expired(1e12)


@pytest.mark.parametrize("tcp", [False, True])
def test_an_expired_copy_is_servfail_and_the_rest_goes_on(make_board, tcp):
    board = make_board(forwards=True).register("web", "a", "10.0.0.1")
    asked = [("web.service", "A"), ("nope.service", "A"), ("", "SOA"), ("", "NS"), ("ns", "A")]
    before = [board.shape(*one, tcp=tcp) for one in asked]
    board.responder.expired = True
    for name, rdtype in asked:
        for _ in range(2):  # what was remembered is forgotten, and nothing is remembered now
            reply = board.ask(name, rdtype, tcp=tcp, use_edns=0)
            assert reply.rcode() == dns.rcode.SERVFAIL
            assert reply.answer == reply.authority == []
    outside = board.query("example.com.", flags="RD").to_wire()
    assert isinstance(board.raw(outside, tcp), Forward)
    board.responder.expired = False
    assert [board.shape(*one, tcp=tcp) for one in asked] == before


async def rcode(front, name="web.service"):
    host, port = front.address
    asked = dns.message.make_query(f"{name}.callboard.internal.", "A")
    return (await dns.asyncquery.udp(asked, host, timeout=PATIENCE_S, port=port)).rcode()


async def test_a_registry_that_hears_nothing_makes_its_workers_say_so(
    start_front, registry, make_instance
):
    registry.put(make_instance())
    front = await start_front(max_stale_s=60)
    assert await rcode(front) == dns.rcode.NOERROR
    for stale_ms, expected in ((61_000.0, dns.rcode.SERVFAIL), (0.0, dns.rcode.NOERROR)):
        registry.stale_ms = stale_ms
        async with asyncio.timeout(PATIENCE_S):
            while await rcode(front) != expected:  # noqa: ASYNC110  # another process changes it
                await asyncio.sleep(0.05)
            while abs(age_in_metrics(front) - stale_ms / 1000) > 10:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def age_in_metrics(front):
    (metric,) = [one for one in dns_metrics(front.stats()) if one.name.endswith("copy_age_seconds")]
    return metric.samples[0].value
