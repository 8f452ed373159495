"""The other checks, each on what is right and on what each of them is there to find."""

from dataclasses import replace

import pytest

from . import durability, lease_bounds, watch_order
from .history import Call, Change, Event, History, read_back
from .patient import is_done
from .run import NoBite, Scene
from .wire import Answer

S = lease_bounds.SECOND_NS


def register(key, index, *, start=0, end=1, outcome="ok", value=None, said="", kind="register"):
    return Call(
        "c",
        "a",
        kind,
        key,
        start,
        end,
        outcome,
        value or f"v{index}",
        output=2,
        index=index,
        said=said,
    )


LOG = [
    Change("x", 2, "put", b"..v2.."),
    Change("y", 3, "put", b"..v3.."),
    Change("z", 3, "put", b"..v3.."),
    Change("x", 4, "delete"),
    Change("y", 5, "put", b"..v5.."),
]


class TestDurability:
    def test_what_was_acknowledged_and_committed_is_fine(self):
        calls = [register("x", 2), register("y", 3), register("y", 5)]
        state = durability.replayed(LOG)
        assert state == {"y": 5, "z": 3}
        assert durability.lost(calls, LOG) == []
        assert durability.missing(calls, LOG, state) == []

    def test_an_acknowledged_write_that_the_log_does_not_have_is_lost(self):
        (fault,) = durability.lost([register("w", 6)], LOG)
        assert "register of w at index 6 was never committed" in fault

    def test_an_acknowledged_write_with_another_value_is_lost(self):
        (fault,) = durability.lost([register("x", 2, value="other")], LOG)
        assert "another value" in fault

    def test_a_node_that_does_not_show_it_is_found(self):
        assert durability.missing([register("z", 3)], LOG, {"y": 5}) != []
        assert durability.missing([register("y", 5)], LOG, {"y": 3, "z": 3}) != []

    def test_a_removal_that_came_undone_is_found(self):
        removal = register("x", 4, kind="deregister", value="")
        assert durability.missing([removal], LOG, {"y": 5}) == []
        assert durability.missing([removal], LOG, {"x": 2}) != []

    def test_unknown_outcomes_and_vain_compares_promise_nothing(self):
        calls = [
            register("w", 6, outcome="unknown"),
            replace(register("w", 6), kind="cas", output=False),
        ]
        assert durability.lost(calls, LOG) == []

    def test_a_refused_write_that_shows_up_is_a_ghost(self):
        refused = register("y", 0, outcome="fail", value="v5", said="no_quorum")
        assert durability.ghosts([refused], [], []) == []
        assert len(durability.ghosts([refused], LOG, [])) == 1
        read = Call("c", "a", "read", "y", 0, 1, "ok", output="v5")
        assert len(durability.ghosts([refused], [], [read])) == 1

    def test_nodes_that_differ_are_named_with_the_key(self):
        same = {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1}}
        assert durability.differences(same) == []
        assert durability.differences({**same, "c": {}}) == ["x: a shows 1, c shows None"]


def events(*seen, first=0):
    start = Event("w", "a", 0, "snapshot", first, 0)
    return [start, *(Event("w", "a", 0, kind, index, 0, key) for kind, index, key in seen)]


ALL = [(change.kind, change.index, change.key) for change in LOG]


class TestWatchOrder:
    def test_all_changes_in_order_are_fine_and_so_is_an_end_between_two_indices(self):
        for end in (0, 1, 3, 4, 5):
            assert watch_order.broken(events(*ALL[:end]), LOG) == []

    def test_changes_of_one_index_may_come_in_any_order(self):
        assert watch_order.broken(events(ALL[0], ALL[2], ALL[1], *ALL[3:]), LOG) == []

    @pytest.mark.parametrize("at", range(4))
    def test_a_gap_is_found_half_an_index_too(self, at):
        (fault,) = watch_order.broken(events(*ALL[:at], *ALL[at + 1 :]), LOG)
        assert "never told" in fault

    def test_an_index_cut_in_two_is_found(self):
        (fault,) = watch_order.broken(events(*ALL[:2]), LOG)
        assert "never told of (3, 'z', 'put')" in fault

    @pytest.mark.parametrize("at", range(5))
    def test_a_repeat_is_found(self, at):
        assert watch_order.broken(events(*ALL[: at + 1], *ALL[at:]), LOG) != []

    def test_a_watcher_that_never_heard_the_end_is_found(self):
        assert watch_order.behind({"one": 5, "two": 6}, 5) == []
        (fault,) = watch_order.behind({"one": 5, "two": 3}, 5)
        assert fault.startswith("two was told up to 3")

    def test_wrong_order_is_found(self):
        assert watch_order.broken(events(ALL[0], ALL[3], *ALL[1:3], ALL[4]), LOG) != []

    def test_what_never_was_is_found(self):
        assert watch_order.broken(events(*ALL, ("put", 6, "q")), LOG) != []

    def test_a_resumed_stream_goes_on_where_it_was(self):
        seen = events(*ALL)
        later = [replace(event, stream=1, resumed_from=3) for event in seen[4:]]
        assert watch_order.broken([*seen[:4], *later], LOG) == []
        assert watch_order.broken([*seen[:4], *later[1:]], LOG) != []

    def test_a_fresh_snapshot_starts_anew(self):
        again = Event("w", "a", 1, "snapshot", 4, 0, listed={"y": 3, "z": 3})
        last = Event("w", "a", 1, "put", 5, 0, "y")
        assert watch_order.broken([*events(ALL[0]), again, last], LOG) == []

    @pytest.mark.parametrize("listed", [{"y": 3}, {"y": 2, "z": 3}, {"x": 2, "y": 3, "z": 3}])
    def test_a_snapshot_that_shows_too_little_or_what_is_gone_is_found(self, listed):
        snapshot = Event("w", "a", 0, "snapshot", 4, 0, listed=listed)
        assert watch_order.broken([snapshot], LOG) != []

    def test_a_snapshot_may_show_what_came_while_it_was_sent(self):
        snapshot = Event("w", "a", 0, "snapshot", 3, 0, listed={"y": 5, "z": 3})
        rest = [Event("w", "a", 0, kind, index, 0, key) for kind, index, key in ALL[3:]]
        assert watch_order.broken([snapshot, *rest], LOG) == []


class TestLeases:
    PROMISE = register("x", 2, start=10 * S, end=11 * S)

    def expired(self, at_s):
        return Event("w", "a", 0, "delete", 9, int(at_s * S), "x", "expired")

    def test_an_expiry_after_the_ttl_is_fine(self):
        assert lease_bounds.dropped([self.PROMISE], [self.expired(12)]) == []

    def test_an_expiry_within_the_ttl_is_found(self):
        (fault,) = lease_bounds.dropped([self.PROMISE], [self.expired(11.9)])
        assert "1.90 s after a renewal for 2 s" in fault

    def test_an_expiry_seen_before_the_renewal_is_another_lease(self):
        assert lease_bounds.dropped([self.PROMISE], [self.expired(9)]) == []

    def test_a_renewal_told_unknown_within_the_ttl_is_found(self):
        told = register(
            "x",
            0,
            start=11 * S,
            end=int(11.5 * S),
            kind="renew",
            outcome="fail",
            said="unknown_instance",
        )
        assert len(lease_bounds.dropped([self.PROMISE, told], [])) == 1

    def test_what_its_owner_removed_was_not_dropped(self):
        asked = register("x", 3, start=11 * S, end=12 * S, kind="deregister", outcome="unknown")
        assert lease_bounds.dropped([self.PROMISE, asked], [self.expired(11.9)]) == []

    @pytest.mark.parametrize(
        ("gone_s", "changes", "late"),
        [(13, 0, 0), (13.1, 0, 1), (14, 1, 0), (15.1, 1, 1), (None, 9, 1)],
    )
    def test_the_dead_go_within_their_bound(self, gone_s, changes, late):
        gone = {} if gone_s is None else {"x": int(gone_s * S)}
        found = lease_bounds.overdue(
            {"x": 10 * S}, gone, ttl_s=2, keeper_changes=changes, bound_s=1
        )
        assert len(found) == late

    def test_the_bound_counts_from_when_they_could_be_removed(self):
        late = lease_bounds.overdue(
            {"x": 0}, {"x": 23 * S}, ttl_s=2, keeper_changes=0, bound_s=1, able_since_ns=20 * S
        )
        assert late == []


def test_a_history_is_read_back_as_it_was_recorded(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.add(register("x", 2))
    history.add(Event("w", "a", 0, "snapshot", 3, 7, listed={"x": 2}))
    history.close()
    again = read_back(tmp_path / "history.jsonl")
    assert (again.calls, again.events) == (history.calls, history.events)
    assert history.ok_between(0, 5) == 1


def answer(outcome, status, said=""):
    return Answer(outcome, status, said)


@pytest.mark.parametrize(
    ("kind", "attempts", "given", "done"),
    [
        ("write", 1, answer("ok", 200), True),
        ("write", 1, answer("fail", 503, "no_quorum"), False),
        ("write", 2, answer("unknown", 0, "Broken pipe"), False),
        ("deregister", 2, answer("fail", 404, "unknown_instance"), True),
        ("deregister", 1, answer("fail", 404, "unknown_instance"), False),
        ("renew", 2, answer("fail", 404, "unknown_instance"), False),
    ],
)
def test_a_patient_call_is_done_when_what_it_asked_for_is_so(kind, attempts, given, done):
    assert is_done(given, kind, attempts) is done


def test_a_fault_that_nobody_saw_is_no_passed_run():
    scene = Scene(*[None] * 7, seen=[])
    scene.saw("packets lost", 3)
    with pytest.raises(NoBite, match="no packets lost"):
        scene.saw("packets lost", 0)
    assert scene.seen == ["packets lost: 3"]
