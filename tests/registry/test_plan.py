"""What a call becomes for the engine, and the engine's answer for the caller."""

import pytest
from callboard.registry.board import Board
from callboard.registry.engine import Change, Conflict, Delete, Done, Put
from callboard.registry.instance import Instance, Status, decode_instance, encode_instance
from callboard.registry.names import InstanceName, instance_key
from callboard.registry.plan import REGISTRATION_BYTES_MAX, Lost, Plan
from callboard.registry.views import Deregister, Heartbeat, Listed, Register, Registered, Renewal

WEB1 = InstanceName("default", "web", "web-1")
WEB2 = InstanceName("default", "web", "web-2")
NOW_S = 100.0


def an_instance(instance_id="web-1", **fields):
    given = {"service": "web", "namespace": "default", "address": "10.0.0.1", "ttl": 15.0}
    return Instance(id=instance_id, **(given | fields))


class Shown(Board):
    """A board, and the engine's numbering for what is put on it."""

    def put(self, instance):
        name = InstanceName(
            instance.namespace.lower(), instance.service.lower(), instance.id.lower()
        )
        old = self.catalog.get(name)
        index = self.index + 1
        change = Change(
            instance_key(name), encode_instance(instance), index, old.create_index if old else index
        )
        self.apply([change], 0.0)

    def plan(self, *operations):
        plan = Plan(self, NOW_S)
        for operation in operations:
            plan.add(operation)
        return plan


@pytest.fixture
def board():
    made = Shown()
    made.loaded(0)
    return made


def test_a_new_registration_is_one_unconditional_put(board):
    plan = board.plan(Register(an_instance()))
    assert plan.operations == [Put(instance_key(WEB1), encode_instance(an_instance()), None)]
    assert plan.results([Done(7, 7)]) == [
        Registered(Listed(an_instance(), 7, 7, 15.0), created=True)
    ]


def test_a_replacement_keeps_its_create_index(board):
    board.put(an_instance())
    plan = board.plan(Register(an_instance(port=80)))
    [result] = plan.results([Done(9, 1)])
    assert result == Registered(Listed(an_instance(port=80), 1, 9, 15.0), created=False)


def test_an_identical_registration_renews_and_writes_nothing(board):
    board.put(an_instance())
    assert board.expires_in_s(WEB1, 10.0) == 5.0
    plan = board.plan(Register(an_instance()))
    assert plan.operations == []
    assert plan.results([]) == [Registered(Listed(an_instance(), 1, 1, 15.0), created=False)]
    assert board.expires_in_s(WEB1, NOW_S) == 15.0


def test_it_is_identical_in_another_spelling_and_another_order_of_meta(board):
    board.put(an_instance(service="Web", meta={"a": "1", "b": "2"}))
    plan = board.plan(Register(an_instance("WEB-1", service="WEB", meta={"b": "2", "a": "1"})))
    assert plan.operations == []
    [registered] = plan.results([])
    assert (registered.listed.instance.service, registered.listed.instance.id) == ("Web", "web-1")


def test_an_identical_registration_of_what_is_being_deleted_is_written(board):
    board.put(an_instance())
    board.expiring.add(instance_key(WEB1))
    plan = board.plan(Register(an_instance()))
    assert plan.operations == [Put(instance_key(WEB1), encode_instance(an_instance()), None)]


@pytest.mark.parametrize("first", [Deregister(WEB1), Register(an_instance(port=1))])
def test_a_registration_as_on_the_board_is_written_when_the_batch_has_changed_it(board, first):
    board.put(an_instance())
    plan = board.plan(first, Register(an_instance()))
    assert len(plan.operations) == 2
    assert decode_instance(plan.operations[1].value) == an_instance()


def test_a_registration_in_a_batch_takes_the_spelling_that_is_new_in_it(board):
    plan = board.plan(
        Register(an_instance("One", service="Web", namespace="Blue")),
        Register(an_instance("Two", service="WEB", namespace="BLUE")),
        Register(an_instance("ONE", service="web", namespace="blue", port=1)),
    )
    spelled = [decode_instance(put.value) for put in plan.operations]
    assert [(i.namespace, i.service, i.id) for i in spelled] == [
        ("Blue", "Web", "One"),
        ("Blue", "Web", "Two"),
        ("Blue", "Web", "One"),
    ]


def test_a_batch_sees_what_its_earlier_operations_do(board):
    board.put(an_instance("web-2"))
    plan = board.plan(
        Heartbeat(WEB1),
        Deregister(WEB1),
        Register(an_instance()),
        Heartbeat(WEB1),
        Heartbeat(WEB1, Status.WARNING, "slow"),
        Deregister(WEB1),
        Heartbeat(WEB1, Status.PASSING),
        Deregister(WEB1),
        Deregister(WEB2),
        Register(an_instance("web-2")),
    )
    key1, key2 = instance_key(WEB1), instance_key(WEB2)
    warned = an_instance(status=Status.WARNING, output="slow")
    assert plan.operations == [
        Put(key1, encode_instance(an_instance()), None),
        Put(key1, encode_instance(warned), None),
        Delete(key1),
        Delete(key2),
        Put(key2, encode_instance(an_instance("web-2")), None),
    ]
    written = [Done(2, 2), Done(3, 2), Done(4, 0), Done(5, 0), Done(6, 6)]
    assert plan.results(written) == [
        None,
        False,
        Registered(Listed(an_instance(), 2, 2, 15.0), created=True),
        Renewal(15.0, 15.0),
        Renewal(15.0, 15.0),
        True,
        None,
        False,
        True,
        Registered(Listed(an_instance("web-2"), 6, 6, 15.0), created=True),
    ]


def test_a_heartbeat_without_news_renews_and_writes_nothing(board):
    board.put(an_instance(status=Status.WARNING, output="slow"))
    beats = [Heartbeat(WEB1), Heartbeat(WEB1, Status.WARNING), Heartbeat(WEB1, output="slow")]
    plan = board.plan(*beats)
    assert plan.operations == []
    assert plan.results([]) == [Renewal(15.0, 15.0)] * 3
    assert board.expires_in_s(WEB1, NOW_S) == 15.0


def test_a_heartbeat_of_what_never_expires_says_so(board):
    board.put(an_instance(ttl=0))
    plan = board.plan(Heartbeat(WEB1), Heartbeat(WEB1, Status.CRITICAL))
    assert plan.results([Done(2, 1)]) == [Renewal(0, None), Renewal(0, None)]


def test_a_status_is_written_onto_the_registration_it_was_read_from(board):
    board.put(an_instance("web-2"))
    board.put(an_instance())
    plan = board.plan(Heartbeat(WEB1, Status.CRITICAL))
    critical = an_instance(status=Status.CRITICAL)
    assert plan.operations == [Put(instance_key(WEB1), encode_instance(critical), 2)]
    assert plan.results([Done(3, 2)]) == [Renewal(15.0, 15.0)]


def test_a_status_that_lost_to_another_registration_is_to_be_planned_again(board):
    board.put(an_instance())
    beat = Heartbeat(WEB1, Status.CRITICAL)
    plan = board.plan(beat, Register(an_instance("web-2")))
    lost, registered = plan.results([Conflict(5), Done(6, 6)])
    assert lost == Lost(beat)
    assert registered.created


def test_no_status_of_a_batch_overwrites_a_registration_that_came_between(board):
    """However many statuses there are: each stands under the condition of the first."""
    board.put(an_instance())
    beats = [Heartbeat(WEB1, status) for status in (Status.WARNING, Status.CRITICAL)]
    plan = board.plan(*beats)
    assert all(put.expect == 1 for put in plan.operations)
    assert plan.results([Conflict(5) for _ in plan.operations]) == [Lost(beat) for beat in beats]
    written = plan.results([Done(5, 1) for _ in plan.operations])
    assert written == [Renewal(15.0, 15.0)] * 2
    assert decode_instance(plan.operations[-1].value).status == Status.CRITICAL


def test_what_is_being_deleted_is_unknown_to_heartbeats(board):
    board.put(an_instance(ttl=0))
    board.expiring.add(instance_key(WEB1))
    plan = board.plan(Heartbeat(WEB1), Heartbeat(WEB1, Status.CRITICAL))
    assert plan.operations == []
    assert plan.results([]) == [None, None]


def test_a_delete_that_finds_nothing_any_more_says_so(board):
    board.put(an_instance())
    plan = board.plan(Deregister(WEB1))
    assert plan.operations == [Delete(instance_key(WEB1))]
    assert plan.results([Conflict(0)]) == [False]


def test_too_large_a_registration_refuses_itself_and_no_other(board):
    fits = {str(number): "x" * 512 for number in range(REGISTRATION_BYTES_MAX // 520)}
    huge = an_instance(meta=fits | {"last": "x" * 2000})
    assert len(encode_instance(an_instance(meta=fits))) <= REGISTRATION_BYTES_MAX
    plan = board.plan(
        Register(huge), Heartbeat(WEB1), Register(an_instance(meta=fits)), Heartbeat(WEB1)
    )
    assert len(plan.operations) == 1
    refused, unknown, registered, renewal = plan.results([Done(1, 1)])
    assert (type(refused).__name__, refused.field) == ("TooLarge", "meta")
    assert str(len(encode_instance(huge))) in refused.message
    assert unknown is None
    assert registered.created
    assert renewal == Renewal(15.0, 15.0)


def test_a_status_after_a_registration_of_the_same_batch_is_written_onto_that(board):
    board.put(an_instance())
    critical = Heartbeat(WEB1, Status.CRITICAL)
    plan = board.plan(critical, Register(an_instance(port=2)), critical)
    values = [decode_instance(put.value) for put in plan.operations]
    assert [(i.port, i.status) for i in values] == [
        (None, Status.CRITICAL),
        (2, Status.PASSING),
        (2, Status.CRITICAL),
    ]
    assert [put.expect for put in plan.operations] == [1, None, None]


def test_what_a_call_renews_and_then_writes_is_not_passed_on(board):
    """The keeper would say that it is unknown, and the registration would be put back."""
    board.elected = False
    board.put(an_instance())
    board.put(an_instance("web-2"))
    renewals = Register(an_instance()), Heartbeat(WEB1)
    plan = board.plan(*renewals, Register(an_instance("web-2")))
    assert [passed.position for passed in plan.passed] == [0, 1, 2]
    for write in (Deregister(WEB1), Heartbeat(WEB1, Status.WARNING), Register(an_instance(port=2))):
        plan = board.plan(*renewals, Register(an_instance("web-2")), write)
        assert [passed.position for passed in plan.passed] == [2]
        assert len(plan.operations) == 1
