"""Response rates without a network: against an exact model, and under floods of networks."""

import pytest
from callboard.dns.rates import (
    ANSWERS,
    BURST_S,
    DENIALS,
    DROP,
    ERRORS,
    PASS,
    SLIP,
    WAYS,
    ResponseRates,
)
from hypothesis import given
from hypothesis import strategies as st

RATE = 16
"""A power of two, so that sums of its intervals are exact."""
NETWORKS = [bytes((10, 0, n)) for n in range(WAYS)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(NETWORKS),
        st.sampled_from((0.0, 0.001, 0.05, 0.1, 0.5, 3.0)),
    ),
    max_size=200,
)


class Model:
    """A leaky bucket for each network in a dict: exact, and without a bound."""

    def __init__(self):
        self.level = {}
        self.at_s = {}

    def passes(self, network, now_s):
        level = self.level.get(network, 0.0) - (now_s - self.at_s.get(network, now_s)) * RATE
        self.at_s[network], self.level[network] = now_s, max(0.0, level)
        if self.level[network] >= BURST_S * RATE - 1e-6:
            return False
        self.level[network] += 1
        return True


@given(STEPS)
def test_the_table_judges_like_exact_buckets(steps):
    rates, model = ResponseRates(RATE, 2, buckets=WAYS), Model()
    now_s = 1000.0
    for network, step_s in steps:
        # Off the grid of the rate, where floats may round either way.
        now_s += step_s * 1.0173
        assert (rates.judge(network, ANSWERS, now_s) == PASS) == model.passes(network, now_s)


@given(STEPS, st.integers(0, 200))
def test_whoever_asks_little_is_always_answered(steps, networks):
    """However many others flood however small a table."""
    rates = ResponseRates(RATE, 2, buckets=WAYS)
    now_s = 1000.0
    for n, (network, step_s) in enumerate(steps):
        now_s += step_s
        for other in range(networks):
            rates.judge(network + bytes((n & 255, other)), ANSWERS, now_s)
        if step_s > 1 / RATE:
            assert rates.judge(b"quiet", ANSWERS, now_s) == PASS


@pytest.mark.parametrize(
    ("slip", "expected"),
    [(0, [DROP] * 4), (1, [SLIP] * 4), (2, [DROP, SLIP] * 2), (3, [DROP, DROP, SLIP, DROP])],
)
def test_every_so_many_are_slipped(slip, expected):
    rates = ResponseRates(RATE, slip)
    for _ in range(RATE):
        assert rates.judge(b"net", DENIALS, 1.0) == PASS
    assert [rates.judge(b"net", DENIALS, 1.0) for _ in range(4)] == expected


def test_errors_are_never_slipped_and_classes_never_mixed():
    rates = ResponseRates(RATE, 1)
    for kind, beyond in ((ERRORS, DROP), (ANSWERS, SLIP), (DENIALS, SLIP)):
        verdicts = [rates.judge(b"net", kind, 1.0) for _ in range(RATE + 1)]
        assert verdicts == [PASS] * RATE + [beyond]


def test_the_rate_is_what_gets_through():
    rates = ResponseRates(RATE, 2)
    passed = sum(rates.judge(b"net", ANSWERS, 1.0 + n / 1000) == PASS for n in range(10_000))
    assert passed == pytest.approx((10 + BURST_S) * RATE, abs=1)
