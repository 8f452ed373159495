"""When things went is never understated."""

from unittest.mock import patch

from callboard.registry import departures
from callboard.registry.departures import Departures
from hypothesis import given
from hypothesis import strategies as st


def test_what_is_remembered_has_its_own_index():
    gone = Departures()
    gone.went("a", 5)
    gone.went("b", 7)
    assert (gone.index("a"), gone.index("b"), gone.index("never")) == (5, 7, 0)
    assert list(gone.items()) == [("a", 5), ("b", 7)]


def test_what_went_before_a_load_went_at_its_index_for_all_we_know():
    gone = Departures()
    gone.went("a", 5)
    gone.reset(9)
    assert gone.index("a") == gone.index("never") == 9


def test_memory_is_bounded_and_what_is_forgotten_is_overstated(monkeypatch):
    monkeypatch.setattr(departures, "DEPARTURES_MAX", 3)
    gone = Departures()
    for index in range(1, 11):
        gone.went(index, index)
    assert len(list(gone.items())) == 3
    assert [gone.index(index) for index in range(1, 11)] == [7] * 7 + [8, 9, 10]


STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 8)))


@given(STEPS, st.integers(0, 5))
def test_no_index_is_ever_too_low(steps, floor):
    """Against a dictionary that forgets nothing."""
    gone, model = Departures(), {}
    gone.reset(floor)
    with patch.object(departures, "DEPARTURES_MAX", 3):
        for index, (comes_back, thing) in enumerate(steps, start=floor + 1):
            if comes_back:
                gone.came_back(thing)
                model.pop(thing, None)
            else:
                gone.went(thing, index)
                model[thing] = index
            assert len(list(gone.items())) <= 3
            assert all(gone.index(thing) >= went for thing, went in model.items())
            assert gone.floor <= index
