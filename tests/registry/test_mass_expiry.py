"""The mass-expiry guard: held back when too many run out at once, and only for a while."""

from callboard.registry.mass_expiry import LEAST, WINDOW_S, MassExpiry
from hypothesis import given
from hypothesis import strategies as st

HOLD_S = 300.0


def keys(first, count):
    return {b"%d" % number: 15.0 for number in range(first, first + count)}


def swept(mass, run_out, leases, now_s):
    mass.judge(len(run_out), leases, now_s)
    return mass.admit(run_out, now_s)


def test_single_instances_go_as_usual():
    mass = MassExpiry(0.15, HOLD_S)
    for minute in range(100):
        going, held = swept(mass, keys(minute, 1), 20, 60.0 * minute)
        assert (len(going), held) == (1, {})


def test_a_small_board_may_lose_ten_at_once_and_not_eleven():
    assert swept(MassExpiry(0.15, HOLD_S), keys(0, LEAST), 12, 0.0)[1] == {}
    going, held = swept(MassExpiry(0.15, HOLD_S), keys(0, LEAST + 1), 12, 0.0)
    assert going == {}
    assert held == dict.fromkeys(keys(0, LEAST + 1), HOLD_S)


def test_what_comes_in_portions_within_the_window_is_counted_together():
    mass = MassExpiry(0.15, HOLD_S)
    going = 0
    for step in range(50):
        some, held = swept(mass, keys(step * 10, 10), 1000 - 10 * step, step * WINDOW_S / 60)
        going += len(some)
        assert len(some) + len(held) == 10
    assert going <= 150


def test_a_share_spread_over_many_windows_is_no_catastrophe():
    mass = MassExpiry(0.15, HOLD_S)
    for step in range(20):
        assert swept(mass, keys(step * 100, 100), 1000, step * (WINDOW_S + 1))[1] == {}


def test_what_stays_silent_goes_when_the_hold_is_over():
    mass = MassExpiry(0.15, HOLD_S)
    held = swept(mass, keys(0, 500), 1000, 0.0)[1]
    assert len(held) == 500
    going, again = swept(mass, keys(0, 500), 1000, HOLD_S)
    assert (len(going), again) == (500, {})


def test_what_was_renewed_meanwhile_and_falls_silent_with_the_rest_is_held_again():
    mass = MassExpiry(0.15, HOLD_S)
    swept(mass, keys(0, 500), 1000, 0.0)
    going, held = swept(mass, keys(0, 500), 1000, HOLD_S + 2 * WINDOW_S)
    assert (going, len(held)) == ({}, 500)


def test_it_can_be_switched_off_and_begins_anew_with_another_keeper():
    for mass in (MassExpiry(0, HOLD_S), MassExpiry(0.15, 0)):
        assert not mass.enabled
        assert swept(mass, keys(0, 900), 1000, 0.0)[1] == {}
    mass = MassExpiry(0.15, HOLD_S)
    swept(mass, keys(0, 500), 1000, 0.0)
    mass.restart(0.5)
    assert mass.held == {}
    assert swept(mass, keys(0, 5), 1000, 1.0)[1] == {}


def test_what_earlier_keepers_have_held_back_is_held_for_the_rest_of_its_time():
    mass = MassExpiry(0.15, HOLD_S)
    mass.restart(0.0, held_s=200.0)
    assert mass.held_s(10.0) == 200.0
    assert set(swept(mass, keys(0, 500), 1000, 10.0)[1].values()) == {110.0}
    assert mass.held_s(50.0) == 240.0
    mass.restart(60.0, held_s=HOLD_S)
    going, held = swept(mass, keys(0, 500), 1000, 70.0)
    assert (len(going), held) == (500, {})


def test_a_hold_that_nobody_went_on_with_is_forgotten():
    mass = MassExpiry(0.15, HOLD_S)
    mass.restart(0.0, held_s=200.0)
    mass.judge(0, 1000, HOLD_S + 1)
    assert mass.held_s(HOLD_S + 1) == 0
    assert set(swept(mass, keys(0, 500), 1000, HOLD_S + 2)[1].values()) == {2 * HOLD_S + 2}


@given(
    st.lists(st.tuples(st.integers(0, 80), st.floats(0.1, 20)), max_size=30),
    st.floats(0.05, 1),
)
def test_every_lease_goes_or_is_held_and_no_window_loses_more_than_its_share(sweeps, share):
    """Against a list of all that ran out and when."""
    mass = MassExpiry(share, HOLD_S)
    now_s, first, leases = 0.0, 0, 400
    due: list[tuple[float, int]] = []
    for count, later_s in sweeps:
        now_s += later_s
        going, held = swept(mass, keys(first, count), leases, now_s)
        assert going.keys() | held.keys() == keys(first, count).keys()
        assert not going.keys() & held.keys()
        recent = sum(n for at, n in due if at > now_s - WINDOW_S)
        due.append((now_s, count))
        too_many = recent + count > max(LEAST, share * (leases + recent))
        assert bool(held) == (too_many and count > 0)
        first += count


def test_what_was_admitted_and_put_off_is_not_held_back_for_it():
    mass = MassExpiry(0.15, HOLD_S)
    swept(mass, keys(0, 500), 1000, 0.0)
    assert len(swept(mass, keys(0, 500), 1000, HOLD_S)[0]) == 500
    mass.put_off(keys(0, 500), HOLD_S + 1)
    assert all(mass.may_go(key, HOLD_S + 1) for key in keys(0, 500))
    mass.judge(0, 1000, HOLD_S + 1)
    assert mass.admit(keys(0, 500), HOLD_S + 1) == (keys(0, 500), {})
