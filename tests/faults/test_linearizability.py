"""The checker against hand-made histories, random sequential machines, and their mutants."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .history import Call
from .linearizability import judge


def op(kind, start, end, *, value=None, expected=None, output=None, outcome="ok"):
    return Call("c", "a", kind, "k", start, end, outcome, value, expected, output)


def write(value, start, end, outcome="ok"):
    return op("write", start, end, value=value, outcome=outcome)


def read(output, start, end):
    return op("read", start, end, output=output)


def cas(expected, value, start, end, *, done, outcome="ok"):
    return op("cas", start, end, value=value, expected=expected, output=done, outcome=outcome)


GOOD = {
    "nothing at all": [],
    "absent at first": [read(None, 0, 1)],
    "one after another": [write("1", 0, 1), read("1", 2, 3), write("2", 4, 5), read("2", 6, 7)],
    "a read beside a write may see either": [
        write("1", 0, 10),
        read(None, 1, 2),
        read("1", 3, 4),
    ],
    "two writes side by side, either order": [
        write("1", 0, 10),
        write("2", 0, 10),
        read("2", 11, 12),
        read("2", 13, 14),
    ],
    "cas done and cas in vain": [
        cas(None, "1", 0, 1, done=True),
        cas(None, "2", 2, 3, done=False),
        read("1", 4, 5),
    ],
    "an unknown write that took effect later": [
        write("1", 0, 1, "unknown"),
        read(None, 5, 6),
        read("1", 7, 8),
    ],
    "an unknown write that never did": [write("1", 0, 1, "unknown"), read(None, 5, 6)],
    "an unseen unknown write makes a cas fail": [
        write("1", 0, 1),
        write("2", 2, 3, "unknown"),
        cas("1", "3", 4, 5, done=False),
    ],
    "an unknown cas that took effect": [
        write("1", 0, 1),
        cas("1", "2", 2, 3, done=None, outcome="unknown"),
        read("2", 4, 5),
    ],
    "a refused write": [write("1", 0, 1, "fail"), read(None, 2, 3)],
}

BAD = {
    "stale read": [write("1", 0, 1), write("2", 2, 3), read("1", 4, 5)],
    "lost write": [write("1", 0, 1), read(None, 2, 3)],
    "a value from nowhere": [read("9", 0, 1)],
    "reads that go back": [write("1", 0, 10), read("1", 1, 2), read(None, 3, 4)],
    "two reads disagree about the order": [
        write("1", 0, 10),
        write("2", 0, 10),
        read("1", 11, 12),
        read("2", 13, 14),
    ],
    "two cas of one value": [
        write("1", 0, 1),
        cas("1", "2", 2, 9, done=True),
        cas("1", "3", 2, 9, done=True),
    ],
    "cas in vain although it matched": [write("1", 0, 1), cas("1", "2", 2, 3, done=False)],
    "an unknown write before its call": [read("1", 0, 1), write("1", 2, 3, "unknown")],
    "a ghost: a refused write is read": [write("1", 0, 1, "fail"), read("1", 2, 3)],
    "an unknown write that comes and goes": [
        write("1", 0, 1),
        write("2", 2, 3, "unknown"),
        read("2", 4, 5),
        read("1", 6, 7),
    ],
    "one unseen write cannot fail two cas with a good one between": [
        write("1", 0, 1),
        write("2", 2, 3, "unknown"),
        cas("1", "3", 4, 5, done=False),
        read("1", 6, 7),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_pass(name):
    assert judge(GOOD[name]).verdict == "linearizable"


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_do_not(name):
    judged = judge(BAD[name])
    assert judged.verdict == "illegal"
    assert judged.key == "k"
    assert "none of these can be next" in judged.why


def test_keys_are_registers_of_their_own():
    other = replace(read(None, 2, 3), key="other")
    assert judge([write("1", 0, 1), other]).verdict == "linearizable"


def test_a_search_that_takes_too_long_is_no_pass():
    """Side by side without end: 60 unknown cas, each of another value, and a read of nothing."""
    tangle = [write(str(n), 0, 1000) for n in range(24)]
    tangle += [cas(str(n), f"x{n}", 0, 1000, done=None, outcome="unknown") for n in range(24)]
    tangle += [read("from nowhere", 2000, 2001)]
    assert judge(tangle, limit_s=0.3).verdict == "unknown"


def simulated(seed, count, unknown_share=0.2):
    """A register that is right by construction; each takes effect between its call and return."""
    rng = random.Random(seed)
    effects = sorted((rng.uniform(0, count), n) for n in range(count))
    state, calls = None, []
    for moment, number in effects:
        start, end = moment - rng.uniform(0, 3), moment + rng.uniform(0, 3)
        kind = rng.choice(["read", "write", "cas"])
        lost_answer = kind != "read" and rng.random() < unknown_share
        happens = not lost_answer or rng.random() < 0.5
        outcome = "unknown" if lost_answer else "ok"
        value, expected, output = f"v{number}", None, None
        if kind == "read":
            value, output = None, state
        elif kind == "cas":
            expected = state if rng.random() < 0.6 else f"v{rng.randrange(count)}"
            output = None if lost_answer else state == expected
            happens = happens and state == expected
        if kind != "read" and happens:
            state = value
        span = int(start * 1000), int(end * 1000)
        calls.append(
            op(kind, *span, value=value, expected=expected, output=output, outcome=outcome)
        )
    return calls


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 60))
def test_what_a_real_register_did_passes(seed, count):
    assert judge(simulated(seed, count)).verdict == "linearizable"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(5, 40))
def test_a_read_long_after_must_see_the_last_of_the_known_writes(seed, count):
    calls = simulated(seed, count, unknown_share=0)
    last = max(call.return_ns for call in calls)
    final = [*calls, write("end", last + 1, last + 2)]
    assert judge([*final, read("end", last + 3, last + 4)]).verdict == "linearizable"
    stale = next((call.value for call in calls if call.value), None)
    assert judge([*final, read(stale, last + 3, last + 4)]).verdict == "illegal"


def test_a_long_history_is_decided_within_seconds():
    assert judge(simulated(7, 3000), limit_s=20).verdict == "linearizable"


def brute_force(calls):
    """Every order of every subset: the definition itself, for a handful of calls."""

    def step(value, call):
        if call.kind == "read":
            return call.output == value, value
        if call.kind == "write":
            return True, call.value
        matches = call.expected == value
        if call.outcome == "unknown":
            return matches, call.value
        return bool(call.output) == matches, call.value if matches else value

    def search(left, value):
        if all(call.outcome == "unknown" for call in left):
            return True
        for at, call in enumerate(left):
            rest = left[:at] + left[at + 1 :]
            if any(o.outcome == "ok" and o.return_ns <= call.call_ns for o in rest):
                continue
            fits, after = step(value, call)
            if fits and search(rest, after):
                return True
        return False

    counted = [
        c for c in calls if c.outcome != "fail" and (c.kind, c.outcome) != ("read", "unknown")
    ]
    return search(counted, None)


@st.composite
def arbitrary(draw):
    calls = []
    for number in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, 12))
        end = start + draw(st.integers(1, 8))
        kind = draw(st.sampled_from(["read", "write", "cas"]))
        some = st.sampled_from([None, *(f"v{n}" for n in range(6))])
        outcome = draw(st.sampled_from(["ok", "ok", "unknown", "fail"]))
        calls.append(
            op(
                kind,
                start,
                end,
                value=None if kind == "read" else f"v{number}",
                expected=draw(some) if kind == "cas" else None,
                output=draw(some) if kind == "read" else draw(st.booleans()),
                outcome=outcome,
            )
        )
    return calls


@settings(max_examples=300, deadline=None)
@given(calls=arbitrary())
def test_it_agrees_with_the_definition(calls):
    assert (judge(calls).verdict == "linearizable") == brute_force(calls)
