"""Leases run by a clock that stands still while the process is stopped."""

from callboard.clock import STALL_S, LeaseClock
from callboard.registry.keeping import STAND_BY_S
from callboard.registry.leases import TICK_S


class Monotonic:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def test_it_runs_with_the_monotonic_clock_while_it_is_asked():
    monotonic = Monotonic()
    clock = LeaseClock(monotonic)
    start_s = clock()
    for _ in range(50):
        monotonic.now_s += STALL_S / 2
        clock()
    assert clock() - start_s == 25 * STALL_S


def test_a_stall_does_not_count():
    monotonic = Monotonic()
    clock = LeaseClock(monotonic)
    start_s = clock()
    monotonic.now_s += 3600
    assert clock() == start_s
    monotonic.now_s += 0.25
    assert clock() == start_s + 0.25


def test_a_node_with_nothing_to_do_is_not_taken_for_a_stopped_one():
    assert max(TICK_S, STAND_BY_S) <= STALL_S / 2
