"""Leases beside a dictionary of deadlines, on a clock that the test turns."""

from math import inf, nextafter

import pytest
from callboard.registry.leases import FILED_AHEAD_TICKS_MAX, TICK_S, Leases
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

FILED_AHEAD_S = FILED_AHEAD_TICKS_MAX * TICK_S


@pytest.fixture
def leases():
    return Leases()


def filed(leases):
    """How many entries all ticks hold: leases, and what changed TTLs left behind."""
    return sum(len(filed) for _, filed in leases._ticks.values())


def test_a_lease_runs_out_at_its_deadline_and_only_once(leases):
    leases.grant("a", 15.0, now_s=100.0)
    assert list(leases.run_out(114.9)) == []
    assert list(leases.run_out(115.0 + TICK_S)) == [("a", 15.0)]
    assert "a" not in leases
    assert list(leases.run_out(1000.0)) == []


def test_what_runs_out_late_is_found_by_a_late_sweep(leases):
    """After a stall everything due is found at once, in the order of the ticks."""
    for number in range(50):
        leases.grant(number, 1.0 + number, now_s=0.0)
    assert [key for key, _ in leases.run_out(30.05)] == list(range(30))
    assert len(leases) == 20


def test_a_renewal_gives_the_full_ttl_and_files_nothing(leases):
    leases.grant("a", 10.0, now_s=0.0)
    before = filed(leases)
    for second in range(1, 100):
        assert leases.renew("a", float(second)) == 10.0
        assert leases.remaining_s("a", float(second)) == 10.0
        assert filed(leases) == before
        assert list(leases.run_out(float(second))) == []
    assert list(leases.run_out(109.0 + TICK_S)) == [("a", 10.0)]


def test_a_renewal_of_what_has_no_lease_says_so(leases):
    assert leases.renew("a", 0.0) is None
    leases.grant("a", 1.0, 0.0)
    leases.drop("a")
    assert leases.renew("a", 0.5) is None
    assert leases.remaining_s("a", 0.5) is None
    leases.drop("a")


def test_what_remains_is_never_negative(leases):
    leases.grant("a", 1.0, now_s=0.0)
    assert leases.remaining_s("a", 5.0) == 0.0


def test_a_shorter_ttl_counts_at_once(leases):
    leases.grant("a", 3600.0, now_s=0.0)
    leases.grant("a", 1.0, now_s=0.0)
    assert list(leases.run_out(1.0 + TICK_S)) == [("a", 1.0)]
    assert list(leases.run_out(4000.0)) == []


def test_a_longer_ttl_outlives_where_the_lease_was_filed(leases):
    leases.grant("a", 1.0, now_s=0.0)
    leases.grant("a", 3600.0, now_s=0.0)
    for second in range(1, 3600, 7):
        assert list(leases.run_out(float(second))) == []
    assert list(leases.run_out(3600.0 + TICK_S)) == [("a", 3600.0)]


def test_a_sweep_ends_however_close_deadlines_and_ticks_are(leases):
    """A deadline one rounding step after now must not be swept for ever."""
    for tick in range(1, 200):
        now_s = tick * TICK_S
        for deadline_s in (now_s, nextafter(now_s, inf), nextafter(nextafter(now_s, inf), inf)):
            leases.set_deadline("a", 15.0, deadline_s, now_s - TICK_S)
            early = list(leases.run_out(now_s))
            assert early == [] or deadline_s <= now_s
            assert early + list(leases.run_out(now_s + 2 * TICK_S)) == [("a", 15.0)]


def test_whoever_stops_a_sweep_halfway_finds_the_rest_next_time(leases):
    for number in range(10):
        leases.grant(number, 1.0 if number % 2 else 0.5, now_s=0.0)
    run_out = leases.run_out(2.0)
    first = [next(run_out)[0] for _ in range(3)]
    run_out.close()
    assert len(leases) == 7
    rest = [key for key, _ in leases.run_out(2.0)]
    assert sorted(first + rest) == list(range(10))


def test_a_key_that_is_dropped_and_granted_again_has_one_lease(leases):
    leases.grant("a", 5.0, now_s=0.0)
    leases.drop("a")
    leases.grant("a", 7.0, now_s=0.0)
    assert list(leases.run_out(5.0 + TICK_S)) == []
    assert list(leases.run_out(7.0 + TICK_S)) == [("a", 7.0)]


def test_a_deadline_that_is_put_off_keeps_the_ttl_for_renewals(leases):
    leases.set_deadline("a", 15.0, deadline_s=1.0, now_s=0.0)
    assert leases.remaining_s("a", 0.0) == 1.0
    assert leases.renew("a", 0.5) == 15.0
    assert leases.remaining_s("a", 0.5) == 15.0


def test_a_renewal_of_what_was_put_off_for_longer_gives_the_ttl_and_no_more(leases):
    leases.set_deadline("a", 0.3, deadline_s=50.0, now_s=0.0)
    assert leases.renew("a", 1.0) == 0.3
    assert list(leases.run_out(1.3 + TICK_S)) == [("a", 0.3)]


def test_nothing_is_filed_further_ahead_than_the_horizon(leases):
    for now_s in (0.0, 12.34, 1e6):
        leases.grant(("day", now_s), 86_400.0, now_s)
        leases.grant(("minute", now_s), FILED_AHEAD_S, now_s)
        assert max(leases._ticks) * TICK_S <= now_s + FILED_AHEAD_S + TICK_S


def test_a_lease_beyond_the_horizon_is_filed_on_until_its_deadline(leases):
    leases.grant("a", 10 * FILED_AHEAD_S, now_s=0.0)
    now_s = 0.0
    while now_s < 10 * FILED_AHEAD_S - 1:
        now_s += FILED_AHEAD_S / 3
        if now_s < 10 * FILED_AHEAD_S:
            assert list(leases.run_out(now_s)) == []
            assert filed(leases) == 1
    assert list(leases.run_out(10 * FILED_AHEAD_S + TICK_S)) == [("a", 10 * FILED_AHEAD_S)]
    assert filed(leases) == 0


@pytest.mark.parametrize(
    ("ttls_s", "left_over_max"),
    [([30.0, 3600.0], 1), ([3600.0, 30.0], 2), ([float(ttl_s) for ttl_s in range(55, 5, -1)], 200)],
    ids=["rising", "falling", "shrinking"],
)
def test_changing_ttls_leave_little_behind(leases, ttls_s, left_over_max):
    """A client that changes its TTL ten times a second for an hour must not fill the memory."""
    for grant in range(36_000):
        now_s = grant / 10
        leases.grant("a", ttls_s[grant % len(ttls_s)], now_s)
        if grant % 10 == 0:
            assert list(leases.run_out(now_s)) == []
        assert filed(leases) <= 1 + left_over_max
    assert len(leases) == 1
    assert [key for key, _ in leases.run_out(3600.0 + 3600.0 + TICK_S)] == ["a"]
    assert filed(leases) == 0


def test_a_renewal_after_a_shorter_ttl_and_a_far_deadline_is_not_filed_too_late(leases):
    leases.grant("a", 59.9, now_s=0.0)
    leases.set_deadline("a", 0.05, 60.0, now_s=0.0)
    assert leases.renew("a", 0.0) == 0.05
    assert list(leases.run_out(1.0)) == [("a", 0.05)]


def test_dropped_leases_leave_no_more_behind_than_one_horizon_brings(leases):
    for second in range(600):
        leases.grant(second, 86_400.0, float(second))
        leases.drop(second)
        assert list(leases.run_out(float(second))) == []
        assert filed(leases) <= FILED_AHEAD_S + 1
    assert len(leases) == 0


def test_a_renewal_while_the_sweep_pauses_is_seen(leases):
    """The keeper deletes in portions and lets renewals in between them."""
    for key in ("a", "b", "c"):
        leases.grant(key, 1.0, now_s=0.0)
    run_out = leases.run_out(2.0)
    first, _ = next(run_out)
    others = {"a", "b", "c"} - {first}
    renewed = min(others)
    assert leases.renew(renewed, 2.0) == 1.0
    assert {key for key, _ in run_out} == others - {renewed}
    assert [key for key, _ in leases.run_out(3.0 + TICK_S)] == [renewed]


KEYS = st.sampled_from("abcdefgh")
TTLS = st.sampled_from([0.05, 0.1, 0.3, 1.0, 7.77, 15.0, 59.9, 60.0, 61.0, 1000.0])


class LeasesMachine(RuleBasedStateMachine):
    """The model is a dictionary: key -> (TTL, deadline)."""

    def __init__(self):
        super().__init__()
        self.leases = Leases()
        self.model = {}
        self.now_s = 1000.0

    @rule(key=KEYS, ttl_s=TTLS)
    def grant(self, key, ttl_s):
        self.leases.grant(key, ttl_s, self.now_s)
        self.model[key] = (ttl_s, self.now_s + ttl_s)

    @rule(key=KEYS, ttl_s=TTLS, ahead_s=st.floats(0.0, 100.0))
    def set_deadline(self, key, ttl_s, ahead_s):
        self.leases.set_deadline(key, ttl_s, self.now_s + ahead_s, self.now_s)
        self.model[key] = (ttl_s, self.now_s + ahead_s)

    @rule(key=KEYS)
    def renew(self, key):
        known = self.model.get(key)
        assert self.leases.renew(key, self.now_s) == (known and known[0])
        if known:
            self.model[key] = (known[0], self.now_s + known[0])

    @rule(key=KEYS)
    def drop(self, key):
        self.leases.drop(key)
        self.model.pop(key, None)

    @rule(by_s=st.floats(0.0, 2.0) | st.sampled_from([TICK_S, 15.0, 60.0, 500.0]))
    def sweep_later(self, by_s):
        self.now_s += by_s
        run_out = dict(self.leases.run_out(self.now_s))
        for key, ttl_s in run_out.items():
            known_ttl_s, deadline_s = self.model.pop(key)
            assert ttl_s == known_ttl_s
            assert deadline_s <= self.now_s, "too early"
        for _, deadline_s in self.model.values():
            assert deadline_s > self.now_s - TICK_S - 1e-6, "more than a tick late"

    @rule(key=KEYS, by_s=st.floats(0.0, 30.0))
    def renew_amid_a_sweep(self, key, by_s):
        self.now_s += by_s
        run_out = self.leases.run_out(self.now_s)
        first = next(run_out, None)
        if first is not None:
            _, deadline_s = self.model.pop(first[0])
            assert deadline_s <= self.now_s
        self.renew(key)
        for gone, _ in run_out:
            _, deadline_s = self.model.pop(gone)
            assert deadline_s <= self.now_s

    @invariant()
    def agree(self):
        assert len(self.leases) == len(self.model)
        for key in "abcdefgh":
            assert (key in self.leases) == (key in self.model)
            remaining_s = self.leases.remaining_s(key, self.now_s)
            if key in self.model:
                assert remaining_s == max(0.0, self.model[key][1] - self.now_s)
            else:
                assert remaining_s is None

    def teardown(self):
        """In the end everything runs out and nothing stays filed."""
        end_s = self.now_s + 2000.0
        while self.now_s < end_s:
            self.sweep_later(50.0)
        assert not self.model
        assert filed(self.leases) == 0


LeasesMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, print_blob=True
)
TestLeases = LeasesMachine.TestCase


def test_after_a_restart_every_lease_has_its_full_ttl_and_no_less_than_it_had():
    leases = Leases()
    leases.grant("a", 10.0, 0.0)
    leases.grant("b", 10.0, 8.0)
    leases.set_deadline("c", 10.0, 60.0, 0.0)
    leases.restart(9.0)
    assert [leases.remaining_s(key, 9.0) for key in "abc"] == [10.0, 10.0, 51.0]
    assert list(leases.run_out(18.9)) == []
    assert {key for key, _ in leases.run_out(19.0 + TICK_S)} == {"a", "b"}
    assert leases.deadline_s("c") == 60.0
    assert leases.deadline_s("a") is None


def test_a_node_that_stands_by_lets_nothing_run_out_and_nothing_pile_up():
    leases = Leases()
    leases.grant("stays", 5.0, 0.0)
    for second in range(300):
        leases.grant(f"gone-{second}", 5.0, float(second))
        leases.drop(f"gone-{second}")
        leases.restart(float(second))
        assert list(leases.run_out(float(second))) == []
    assert leases.remaining_s("stays", 299.0) == 5.0
    assert sum(len(filed) for _, filed in leases._ticks.values()) < 20


def test_what_is_due_is_counted_before_it_is_taken_off():
    leases = Leases()
    for number in range(30):
        leases.grant(number, 1.0 + number / 10, 0.0)
    leases.renew(3, 1.0)
    leases.drop(4)
    now_s = 2.0 + TICK_S
    due = sorted(leases.due(now_s))
    assert due == sorted(key for key, _ in leases.run_out(now_s))
    assert len(due) > 5
    assert list(leases.due(now_s)) == []
