"""When a registration is renewed, and what its health check says."""

import asyncio
import threading

import pytest
from callboard.clients.checks import CheckRunner, health
from callboard.clients.renewing import SPREAD, Renewing
from hypothesis import given
from hypothesis import strategies as st


@given(st.floats(0.2, 10_000), st.floats(0, 1))
def test_a_lease_is_renewed_about_three_times_within_its_ttl(ttl_s, randomness):
    wait_s = Renewing(ttl_s, lambda: randomness).after_success_s()
    assert ttl_s / 3 * (1 - SPREAD) <= wait_s * (1 + 1e-9)
    assert wait_s <= ttl_s / 3 * (1 + SPREAD) * (1 + 1e-9) or ttl_s < 0.5


@given(st.floats(0.2, 10_000), st.floats(0, 1), st.integers(1, 20))
def test_after_a_failure_it_is_tried_again_at_least_as_often(ttl_s, randomness, failures):
    renewing = Renewing(ttl_s, lambda: randomness)
    waits = [renewing.after_failure_s() for _ in range(failures)]
    assert all(0 < wait_s <= ttl_s / 3 * (1 + 1e-9) for wait_s in waits)


def test_a_registration_without_ttl_is_not_renewed():
    assert Renewing(0).after_success_s() is None
    assert Renewing(0).after_failure_s() > 0


def test_a_renewal_is_given_up_before_the_next_is_due_but_not_at_once():
    assert Renewing(30).call_timeout_s(60) == 10
    assert Renewing(0.3).call_timeout_s(60) == 1
    assert Renewing(30).call_timeout_s(5) == 5


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (True, "passing"),
        (False, "critical"),
        (("warning", "hot"), "warning"),
        (("fine", "?"), "critical"),
        (None, "critical"),
        (("passing",), "critical"),
    ],
)
def test_what_a_check_returns_becomes_a_status(result, status):
    assert health(result).status == status


async def test_checks_may_be_plain_or_asynchronous_and_may_raise():
    async def slow_but_good():
        await asyncio.sleep(0)
        return True

    def broken():
        raise LookupError("no disk")

    def leaves():
        raise SystemExit(3)

    def stops():
        raise StopIteration

    assert (await CheckRunner(slow_but_good).run()).status == "passing"
    assert (await CheckRunner(lambda: ("warning", "hot")).run()) == ("warning", "hot")
    assert (await CheckRunner(broken).run()) == ("critical", "LookupError: no disk")
    assert "SystemExit" in (await CheckRunner(leaves).run()).output
    assert "StopIteration" in (await CheckRunner(stops).run()).output


async def test_a_check_that_hangs_is_critical_and_no_second_one_is_started():
    free, runs = threading.Event(), []

    def hangs():
        runs.append(1)
        free.wait(30)
        return True

    runner = CheckRunner(hangs, timeout_s=0.02)
    try:
        assert "has not answered" in (await runner.run()).output
        assert (await runner.run()).status == "critical"
        assert len(runs) == 1
    finally:
        free.set()
    while (await runner.run()).status != "passing":
        pass


async def test_an_asynchronous_check_that_hangs_is_cancelled():
    cancelled = []

    async def hangs():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(1)

    assert (await CheckRunner(hangs, timeout_s=0.02).run()).status == "critical"
    assert cancelled
