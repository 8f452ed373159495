"""How operations are laid into etcd transactions, without an etcd."""

from collections import deque

import pytest
from callboard.registry.engine import (
    ABSENT,
    Conflict,
    Delete,
    Done,
    Guard,
    OutcomeUnknown,
    Put,
    Superseded,
)
from callboard.registry.engine.etcd.callboard_etcd_pb2 import (
    PutRequest,
    PutResponse,
    TxnRequest,
    TxnResponse,
)
from callboard.registry.engine.etcd.layout import Layout
from callboard.registry.engine.etcd.transactions import (
    NESTED_OPERATIONS_MAX,
    TRANSACTION_BYTES_MAX,
    Call,
    Transaction,
)
from hypothesis import given
from hypothesis import strategies as st

LAYOUT = Layout("p/")
EXCLUSIVE = Layout("p/", exclusive=True)
KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
EXPECTS = st.none() | st.integers(0, 3)
OPERATIONS = st.builds(Put, KEYS, st.binary(max_size=3), EXPECTS) | st.builds(
    Delete, KEYS, EXPECTS, st.booleans()
)
GUARDS = st.sampled_from([None, Guard(b"p/keeper", 1), Guard(b"p/keeper", 2)])
CALLS = st.lists(st.builds(Call, st.lists(OPERATIONS, min_size=1, max_size=8), GUARDS), max_size=8)


def transactions(calls, operations_max=5):
    queue = deque(calls)
    made = []
    while queue:
        transaction = Transaction()
        transaction.take(queue, operations_max)
        made.append(transaction)
    return made


def operations(transaction):
    return [one for call, start, stop in transaction.parts for one in call.operations[start:stop]]


@given(CALLS)
def test_every_operation_is_taken_once_and_in_order(calls):
    taken = [one for transaction in transactions(calls) for one in operations(transaction)]
    assert taken == [one for call in calls for one in call.operations]


@given(CALLS)
def test_a_transaction_has_each_key_once_one_guard_and_one_reason(calls):
    for transaction in transactions(calls):
        together = operations(transaction)
        assert 0 < len(together) == len({one.key for one in together}) <= 5
        assert {call.guard for call, _, _ in transaction.parts} == {transaction.guard}
        assert len({one.expired for one in together if isinstance(one, Delete)}) <= 1


def test_values_fill_a_transaction_and_one_that_is_too_large_goes_alone():
    third = bytes(TRANSACTION_BYTES_MAX // 3)
    puts = [Put(b"%d" % number, third) for number in range(4)]
    large = Put(b"large", bytes(2 * TRANSACTION_BYTES_MAX))
    made = transactions([Call([*puts, large, Put(b"z", b"")], None)], 100)
    assert [len(operations(one)) for one in made] == [2, 2, 1, 1]


def counted(request):
    """As etcd counts against --max-txn-ops: its longest list, and the most that one nests."""
    lists = (request.compare, request.success, request.failure)
    nested = [one.request_txn for one in request.success if one.HasField("request_txn")]
    return max(map(len, lists)) + max((counted(one) for one in nested), default=0)


@given(CALLS)
def test_etcd_counts_no_more_operations_than_it_allows(calls):
    for transaction in transactions(calls, 5):
        assert counted(transaction.request(LAYOUT)) <= 5 + NESTED_OPERATIONS_MAX


def test_the_reason_of_deletes_is_told_first_in_their_transaction():
    call = Call([Delete(b"a", expired=True), Delete(b"b", expired=True), Delete(b"c")], None)
    both, alone = transactions([call])
    assert both.request(LAYOUT).success[0].request_put.key == b"p/last"
    assert both.request(LAYOUT).success[0].request_put.value == b"expired"
    assert alone.request(LAYOUT).success[0].request_put.value == b""


def test_results_are_read_in_order_and_conflicts_name_what_is_in_the_way():
    puts = [Put(b"a", b"", ABSENT), Put(b"b", b""), Put(b"e", b"")]
    call = Call([*puts, Delete(b"c", 4), Delete(b"d")], None)
    [transaction] = transactions([call])
    response = TxnResponse(succeeded=True)
    response.header.revision = 9
    response.responses.add().response_put.SetInParent()
    created = response.responses.add().response_txn
    created.succeeded = True
    for _ in range(2):
        response.responses.add().response_put.SetInParent()
    conflict, gone = (response.responses.add().response_txn for _ in range(2))
    created.responses.add().response_put.SetInParent()
    conflict.responses.add().response_range.kvs.add(create_revision=3, mod_revision=6)
    gone.responses.add().response_range.SetInParent()
    assert transaction.read(response)
    transaction.complete({b"a": 9, b"b": 3, b"e": 9}, 9)
    assert call.results == [Done(9, 9), Done(9, 3), Done(9, 9), Conflict(6), Conflict(ABSENT)]
    assert call.applied


def test_what_the_watch_does_not_show_has_no_result():
    call = Call([Put(b"a", b""), Put(b"b", b"")], None)
    [transaction] = transactions([call])
    response = TxnResponse(succeeded=True)
    for _ in range(3):
        response.responses.add().response_put.SetInParent()
    assert transaction.read(response)
    with pytest.raises(OutcomeUnknown):
        transaction.complete({b"a": 9}, 9)


@pytest.mark.parametrize("guard", [None, Guard(b"p/keeper", 3)])
def test_a_lone_operation_tells_a_conflict_from_a_lost_guard(guard):
    call = Call([Delete(b"a", 4, expired=True)], guard)
    [transaction] = transactions([call])
    response = TxnResponse()
    if guard is not None:
        response.responses.add().response_range.kvs.add(create_revision=3, mod_revision=3)
    response.responses.add().response_range.kvs.add(create_revision=2, mod_revision=6)
    assert not transaction.read(response)
    assert call.results == [Conflict(6)]
    if guard is not None:
        response.responses[0].response_range.kvs[0].create_revision = 5
        with pytest.raises(Superseded):
            transaction.read(response)


def one_of(*operations, guard=None):
    [made] = transactions([Call(list(operations), guard)])
    return made


def test_in_an_etcd_of_its_own_one_put_needs_no_transaction():
    made = one_of(Put(b"a", b"1"))
    assert made.request(EXCLUSIVE) == PutRequest(key=b"p/b/a", value=b"1")
    [(call, _, _)] = made.parts
    answer = PutResponse()
    answer.header.revision = 9
    assert made.read(answer)
    assert call.applied
    made.complete({b"a": 4}, 9)
    assert call.results == [Done(9, 4)]


@pytest.mark.parametrize(
    ("made", "layout"),
    [
        (one_of(Put(b"a", b"1")), LAYOUT),
        (one_of(Put(b"a", b"1"), Put(b"b", b"1")), EXCLUSIVE),
        (one_of(Put(b"a", b"1", 3)), EXCLUSIVE),
        (one_of(Delete(b"a")), EXCLUSIVE),
        (one_of(Put(b"a", b"1"), guard=Guard(b"p/keeper", 1)), EXCLUSIVE),
    ],
    ids=["shared etcd", "two", "condition", "delete", "guard"],
)
def test_everything_else_does(made, layout):
    request = made.request(layout)
    assert isinstance(request, TxnRequest)
    assert request.success[0].request_put.key == b"p/last"
