"""Whom a call asks, what it repeats, and what it ends in, with a clock of our own."""

import pytest
from callboard.clients.attempts import Attempts, Try, Wait
from callboard.clients.backoff import Backoff
from callboard.clients.endpoints import COOL_DOWN_S, Endpoints
from callboard.clients.errors import (
    CallboardError,
    NoServerAnswered,
    OutcomeUnknown,
    TimedOut,
    Unavailable,
)
from hypothesis import given
from hypothesis import strategies as st

A, B, C = "http://a", "http://b", "http://c"


def call(*servers, writes=True, repeatable=True, timeout_s=10.0, endpoints=None):
    return Attempts(
        endpoints or Endpoints(servers or (A, B)),
        writes=writes,
        repeatable=repeatable,
        timeout_s=timeout_s,
        now=0.0,
        backoff=Backoff(first_s=1, randomness=lambda: 1.0),
    )


def unavailable(retry_after_s=None, code="no_quorum"):
    return Unavailable("not now", code=code, status=503, retry_after_s=retry_after_s)


def test_each_server_is_asked_once_when_none_can_be_reached():
    attempts = call(A, B)
    assert attempts.next(0).server == A
    attempts.unsent(A, "connection refused", 0, ConnectionRefusedError())
    assert attempts.next(0).server == B
    attempts.unsent(B, "no route", 0, OSError())
    with pytest.raises(NoServerAnswered, match="http://a: connection refused; http://b: no route"):
        attempts.next(0)


def test_a_password_in_a_url_is_told_to_nobody():
    secret = "http://bob:secret@a:8500/base"
    attempts = call(secret)
    assert attempts.next(0).server == secret
    attempts.unsent(secret, "refused", 0, ConnectionRefusedError())
    with pytest.raises(NoServerAnswered, match="http://a:8500/base: refused") as caught:
        attempts.next(0)
    assert list(caught.value.failures) == ["http://a:8500/base"]
    assert "secret" not in repr(Endpoints([secret]))


def test_a_call_that_is_not_repeatable_moves_on_only_when_nothing_was_sent():
    attempts = call(A, B, repeatable=False)
    attempts.unsent(attempts.next(0).server, "refused", 0, ConnectionRefusedError())
    assert attempts.next(0).server == B
    attempts.unanswered(B, "broke", 0, ConnectionResetError())
    with pytest.raises(OutcomeUnknown, match="read before you repeat"):
        attempts.next(0)


def test_a_repeatable_write_without_an_answer_is_asked_of_the_next():
    attempts = call(A, B)
    attempts.unanswered(attempts.next(0).server, "broke", 0, ConnectionResetError())
    assert attempts.next(0).server == B
    assert attempts.maybe_done
    attempts.unsent(B, "refused", 0, ConnectionRefusedError())
    with pytest.raises(OutcomeUnknown):
        attempts.next(0)


def test_a_read_without_an_answer_has_harmed_nothing():
    attempts = call(A, writes=False)
    attempts.unanswered(attempts.next(0).server, "broke", 0, ConnectionResetError())
    with pytest.raises(NoServerAnswered):
        attempts.next(0)


def test_retry_after_is_waited_for_and_then_all_are_asked_again():
    attempts = call(A, B)
    attempts.refused(attempts.next(0).server, unavailable(3.0), 0)
    attempts.refused(attempts.next(0).server, unavailable(2.0), 0)
    assert attempts.next(0) == Wait(2.0)
    assert {attempts.next(2).server, attempts.next(2).server} == {A, B}


def test_a_server_that_asks_for_no_patience_is_not_called_without_a_pause():
    attempts = call(A, timeout_s=60)
    waits = []
    for _ in range(3):
        attempts.refused(attempts.next(0).server, unavailable(retry_after_s=0.0), 0)
        waits.append(attempts.next(0).seconds)
    assert waits == [1, 2, 4]


def test_without_retry_after_the_backoff_decides():
    attempts = call(A)
    attempts.refused(attempts.next(0).server, unavailable(), 0)
    assert attempts.next(0) == Wait(1.0)


def test_a_wait_beyond_the_timeout_is_not_begun():
    attempts = call(A, timeout_s=2.0)
    attempts.refused(attempts.next(0).server, unavailable(2.0), 0)
    with pytest.raises(Unavailable, match="not now"):
        attempts.next(0)


def test_a_refusal_of_what_is_not_repeatable_is_final():
    attempts = call(A, B, repeatable=False)
    attempts.next(0)
    with pytest.raises(Unavailable):
        attempts.refused(A, unavailable(1.0), 0)


def test_an_unknown_outcome_is_repeated_when_that_is_safe_and_told_when_it_stays():
    attempts = call(A, timeout_s=2.0)
    attempts.refused(attempts.next(0).server, OutcomeUnknown("?", status=503), 0)
    assert isinstance(attempts.next(0), Wait)
    attempts.unanswered(attempts.next(1).server, "timeout", 2, TimeoutError())
    with pytest.raises(OutcomeUnknown):
        attempts.next(2)


def test_out_of_time_is_told_as_such():
    attempts = call(A, writes=False, timeout_s=2.0)
    attempts.unanswered(attempts.next(0).server, "no answer in time", 2, TimeoutError())
    with pytest.raises(TimedOut, match="within 2 s"):
        attempts.next(2.0)


def test_the_time_is_shared_among_the_servers_that_are_left():
    assert call(A, B).next(0) == Try(A, 5.0, 5.0)
    assert call(A, B, repeatable=False).next(0) == Try(A, 5.0, 10.0)
    assert call(A, B, timeout_s=0.5).next(0) == Try(A, 0.5, 0.5)


def test_the_server_that_answers_is_kept_and_a_broken_one_comes_last_for_a_while():
    endpoints = Endpoints((A, B, C))
    endpoints.answered(B)
    assert endpoints.in_order(0) == [B, A, C]
    endpoints.failed(A, 0)
    assert endpoints.in_order(0) == [B, C, A]
    assert endpoints.in_order(COOL_DOWN_S) == [B, A, C]


HAPPENINGS = st.sampled_from(["unsent", "unanswered", "503", "unknown", "429"])


@given(st.lists(HAPPENINGS), st.booleans(), st.booleans(), st.integers(1, 4))
def test_every_call_ends_in_bounded_time_and_never_repeats_what_may_have_happened(
    happenings, writes, repeatable, count
):
    """A write that may have been done is sent again only if it is repeatable."""
    attempts = call(
        *[f"http://{n}" for n in range(count)], writes=writes, repeatable=repeatable, timeout_s=5
    )
    error, sent = play(attempts, iter(happenings), writes=writes, repeatable=repeatable)
    assert not sent or isinstance(error, OutcomeUnknown)


def play(attempts, script, *, writes, repeatable):
    """How the call ends, and how often a write may have been done."""
    now, sent = 0.0, 0
    try:
        for _ in range(1000):
            step = attempts.next(now)
            if isinstance(step, Wait):
                now += step.seconds
                continue
            assert now + step.total_s <= 5 + 1e-9
            assert repeatable or not sent
            now += 0.05
            happening = next(script, "unsent")
            sent += writes and happening in ("unanswered", "unknown")
            tell(attempts, happening, step.server, now)
    except CallboardError as error:
        return error, sent
    raise AssertionError("the call goes on for ever")


def tell(attempts, happening, server, now):
    match happening:
        case "unsent":
            attempts.unsent(server, "x", now, ConnectionRefusedError())
        case "unanswered":
            attempts.unanswered(server, "x", now, ConnectionResetError())
        case "unknown":
            attempts.refused(server, OutcomeUnknown("?", status=503), now)
        case "429" | "503":
            attempts.refused(server, unavailable(0.5), now)


@given(st.floats(0, 1), st.floats(0.01, 1), st.floats(1, 100), st.integers(1, 50))
def test_the_backoff_grows_and_stays_between_half_a_step_and_the_longest(
    randomness, first_s, longest_s, count
):
    backoff = Backoff(first_s, longest_s, lambda: randomness)
    waits = [backoff.next_s() for _ in range(count)]
    assert waits == sorted(waits)
    assert first_s / 2 <= waits[0]
    assert waits[-1] <= longest_s
    backoff.reset()
    assert backoff.next_s() == waits[0]
