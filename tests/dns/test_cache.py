"""The cache of compiled replies: bounded, and never out of date."""

import dns.flags
import dns.message
import pytest
from callboard.dns.cache import Origin, ReplyCache


def entry(number, service=b"web", held_bytes=100, negative=False):
    ready = (b"head", 20, 30, lambda: b"tail", number)
    return b"key %d" % number, ready, Origin((service,), held_bytes, negative)


def test_what_is_in_use_outlives_a_scan_over_many_names():
    cache = ReplyCache(entries_max=10)
    cache.put(*entry(0))
    for number in range(1, 1000):
        cache.put(*entry(number))
        assert cache.find(b"key 0") is not None
        assert len(cache) <= 20
    assert cache.find(b"key 1") is None


def test_large_answers_are_bounded_by_their_bytes():
    cache = ReplyCache(entries_max=1000, held_bytes_max=10_000)
    for number in range(100):
        cache.put(*entry(number, held_bytes=1000))
        assert len(cache) <= 24


@pytest.mark.parametrize("aged", [False, True])
def test_a_changed_service_is_forgotten_and_no_other(aged):
    cache = ReplyCache(entries_max=4)
    cache.put(*entry(0, b"web"))
    cache.put(*entry(1, b"db"))
    for number in range(2, 6) if aged else ():
        cache.put(*entry(number, b"other"))
    cache.drop(b"web")
    assert cache.find(b"key 0") is None
    assert cache.find(b"key 1") is not None


def test_negative_answers_can_be_forgotten_alone():
    cache = ReplyCache()
    cache.put(*entry(0, negative=True))
    cache.put(*entry(1))
    cache.drop_negative()
    assert (cache.find(b"key 0"), cache.find(b"key 1") is None) == (None, False)


def test_nothing_is_left_behind_when_all_is_dropped():
    cache = ReplyCache(entries_max=8)
    for number in range(100):
        cache.put(*entry(number, b"service %d" % (number % 5)))
    for number in range(5):
        cache.drop(b"service %d" % number)
    assert len(cache) == 0
    assert [cache._keys, cache._origins, cache._negative, cache._held_bytes] == [{}, {}, set(), 0]


def test_random_names_fill_nothing(board):
    board.register()
    for n in range(200):
        board.ask(f"x{n}.service")
        board.ask(f"_x{n}.web.service")
        board.ask(f"{n:08x}.addr")
    assert len(board.responder.udp) == 0


def test_random_letter_case_is_one_entry(board):
    board.register()
    for name in ("web.service", "WEB.service", "wEb.SERVICE", "web.SERVICE"):
        board.ask(name)
    assert len(board.responder.udp) == 1


@pytest.mark.parametrize("first", [0x0261, 0x0241])
def test_sizes_that_fold_to_the_same_bytes_limit_their_own_replies(board, first):
    """577 and 609 are "A" and "a" behind the same byte: the cache's key is in lower case."""
    for number in range(33):
        board.register(id=f"i{number}", address=f"10.0.0.{number}")
    other = first ^ 0x20
    for size in (first, other, first, other):
        query = dns.message.make_query(
            "web.service.callboard.internal", "A", use_edns=0, payload=size
        )
        reply = board.raw(query.to_wire())
        assert len(reply) <= size
        assert bool(dns.message.from_wire(reply).flags & dns.flags.TC) == (size == 0x0241)
