"""The local copy, and the choices made from it."""

import random
from collections import Counter

import pytest
from callboard import DeleteEvent, Instance, InvalidArgument, Peer, PutEvent, SnapshotEvent
from callboard.clients.balancing import Balancer
from callboard.clients.local_copy import LocalCopy
from hypothesis import given
from hypothesis import strategies as st


def instance(name, **fields):
    return Instance(service="web", id=name, address="10.0.0.1", port=80, **fields)


def three(**fields):
    return [instance(name, **fields) for name in "abc"]


@given(st.integers(1, 7), st.integers(1, 50))
def test_round_robin_gives_everybody_the_same_share(count, rounds):
    balancer = Balancer()
    candidates = [instance(f"i{n}") for n in range(count)]
    chosen = Counter(balancer.choose("round-robin", candidates).id for _ in range(rounds * count))
    assert set(chosen.values()) == {rounds}


def test_round_robin_keeps_a_turn_for_each_tag():
    balancer = Balancer()
    for tag in (None, "v2", None, "v2"):
        balancer.choose("round-robin", three(), tag)
    assert balancer.choose("round-robin", three(), "v2").id == "c"


def test_weighted_choices_follow_the_weights():
    candidates = [instance("a", weight=1), instance("b", weight=3), instance("c", weight=0)]
    balancer = Balancer(random.Random(7).random)
    chosen = Counter(balancer.choose("weighted", candidates).id for _ in range(8000))
    assert chosen["c"] == 0
    assert chosen["b"] / chosen["a"] == pytest.approx(3, rel=0.1)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=8), st.floats(0, 1))
def test_a_weighted_choice_is_always_one_of_them(weights, point):
    """Also at the very end of the range of random numbers, and when every weight is 0."""
    candidates = [instance(f"i{n}", weight=weight) for n, weight in enumerate(weights)]
    chosen = Balancer(lambda: point).choose("weighted", candidates)
    assert chosen.weight > 0 or not any(weights)


def test_random_choices_reach_everybody():
    balancer = Balancer(random.Random(7).random)
    assert {balancer.choose("random", three()).id for _ in range(100)} == {"a", "b", "c"}


def test_least_used_is_the_one_with_the_fewest_taken():
    balancer = Balancer()
    for name in ("a", "a", "b"):
        balancer.taken(name)
    assert balancer.choose("least-used", three()).id == "c"
    balancer.given_back("a")
    balancer.given_back("a")
    balancer.taken("c")
    assert balancer.choose("least-used", three()).id == "a"


def test_those_with_equally_little_to_do_take_turns():
    balancer = Balancer()
    assert {balancer.choose("least-used", three()).id for _ in range(3)} == {"a", "b", "c"}


def test_an_unknown_policy_is_refused_by_name():
    with pytest.raises(InvalidArgument, match="round-robin"):
        Balancer().choose("fastest", three())


def test_a_peer_is_given_back_once_by_with_by_hand_or_when_it_is_forgotten():
    returned = []
    with Peer(instance("a"), 0.0, lambda: returned.append("a")) as peer:
        assert peer.endpoint == "10.0.0.1:80"
    peer.release()
    del peer
    assert returned == ["a"]
    Peer(instance("b"), 0.0, lambda: returned.append("b"))
    assert returned == ["a", "b"]


def test_a_copy_is_what_the_events_say():
    copy = LocalCopy()
    assert not copy.filled
    copy.apply(SnapshotEvent(5, tuple(three(modify_index=5))))
    copy.apply(PutEvent(6, instance("d", modify_index=6)))
    copy.apply(DeleteEvent(7, instance("A", modify_index=5), "expired"))
    assert [one.id for one in copy.all()] == ["b", "c", "d"]
    copy.apply(SnapshotEvent(9, (instance("z", modify_index=8),), resync=True))
    assert [one.id for one in copy.all()] == ["z"]


def test_events_older_than_the_snapshot_shows_are_passed_over():
    """A snapshot shows what changed while it was sent; the events of that come again."""
    copy = LocalCopy()
    copy.apply(SnapshotEvent(5, (instance("a", modify_index=7, status="critical"),)))
    copy.apply(PutEvent(6, instance("a", modify_index=6)))
    copy.apply(DeleteEvent(6, instance("a", modify_index=3), "expired"))
    assert copy.all()[0].status == "critical"


def test_candidates_are_handed_out_tagged_and_of_the_best_priority():
    copy = LocalCopy()
    copy.apply(
        SnapshotEvent(
            1,
            (
                instance("a", priority=1, tags=("v1",)),
                instance("b", priority=2, tags=("v2",)),
                instance("c", priority=1, status="warning"),
                instance("d", priority=0, status="critical"),
                instance("e", priority=0, status="maintenance"),
            ),
        )
    )
    assert [one.id for one in copy.candidates(None)] == ["a", "c"]
    assert [one.id for one in copy.candidates("v2")] == ["b"]
    assert copy.candidates("v3") == ()
    copy.apply(PutEvent(2, instance("f", tags=("v3",))))
    assert [one.id for one in copy.candidates("v3")] == ["f"]


def test_a_copy_ages_from_when_the_server_was_last_heard():
    copy = LocalCopy()
    copy.apply(SnapshotEvent(1, ()))
    copy.heard(10.0)
    assert copy.age_s(100.0) == 0
    copy.lost()
    assert copy.age_s(12.5) == 2.5
