"""When calls are sent, without an etcd: what is in a transaction, and what waits for the next."""

import asyncio
from types import SimpleNamespace

import pytest
from callboard.registry.engine import ABSENT, Conflict, Done, OutcomeUnknown, Put, Refused
from callboard.registry.engine.etcd import committer
from callboard.registry.engine.etcd.callboard_etcd_pb2 import TxnResponse
from callboard.registry.engine.etcd.errors import NotReached
from callboard.registry.engine.etcd.layout import Layout


class Etcd:
    """Takes transactions, and answers the oldest when it is told to."""

    def __init__(self):
        self.on_term = []
        self.answered_at = 0.0
        self.sent = []
        self.asked = asyncio.Event()
        self._answers = []

    async def call(self, _method, request, timeout_s):
        assert timeout_s > 0
        self.sent.append(len(request.success) - 1)  # without `last`
        answer = asyncio.get_running_loop().create_future()
        self._answers.append((request, answer))
        self.asked.set()
        return await answer

    def told_term(self, _term):
        self.answered_at = asyncio.get_running_loop().time()

    def answer(self, *, succeeds=True):
        request, answer = self._answers.pop(0)
        response = TxnResponse(succeeded=succeeds)
        response.header.revision = 1
        for _ in request.success if succeeds else request.failure:
            response.responses.add().response_put.SetInParent()
        answer.set_result(response)


class Seen:
    """A feed that shows everything at once."""

    seen = 1

    def created_at(self, revision):
        return {b"%d" % key: revision for key in range(1000)}


class Late(Seen):
    """A feed that shows nothing before `shown` is set."""

    seen = 0

    def __init__(self):
        self.shown = asyncio.Event()

    async def reach(self, revision):
        await self.shown.wait()


@pytest.fixture
def gather_s_max(monkeypatch):
    return lambda seconds: monkeypatch.setattr(committer, "GATHER_S_MAX", seconds)


@pytest.fixture
async def etcd():
    return Etcd()


@pytest.fixture
async def call(etcd):
    writes = committer.Committer(etcd, Layout("p/"), Seen(), 128)
    keys = iter(range(1000))
    answers = []

    def make(count):
        puts = [Put(b"%d" % next(keys), b"") for _ in range(count)]
        answers.extend(writes.commit([put], None) for put in puts)

    yield make
    closing = asyncio.create_task(writes.close())
    while not closing.done():
        if etcd._answers:
            etcd.answer()
        await asyncio.sleep(0)
    for answer in answers:
        assert (await answer)[0].revision == 1


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_those_who_were_answered_and_call_again_share_the_next(etcd, call, gather_s_max):
    gather_s_max(60)
    call(8)
    await turns()
    etcd.answer()
    await turns()
    call(7)
    await turns()
    assert etcd.sent == [8]
    call(1)
    await turns()
    assert etcd.sent == [8, 8]


async def test_calls_wait_no_longer_than_the_limit_for_others(etcd, call, gather_s_max):
    gather_s_max(0.001)
    call(8)
    await turns()
    etcd.answer()
    await turns()
    etcd.asked.clear()
    call(2)
    await asyncio.wait_for(etcd.asked.wait(), 20)
    assert etcd.sent == [8, 2]


async def test_few_callers_do_not_wait_for_each_other(etcd, call, gather_s_max):
    gather_s_max(60)
    call(3)
    await turns()
    etcd.answer()
    await turns()
    call(1)
    await turns()
    assert etcd.sent == [3, 1]


async def test_what_was_gathered_meanwhile_goes_at_once_if_it_is_enough(etcd, call, gather_s_max):
    gather_s_max(60)
    call(4)
    await turns()
    call(5)
    etcd.answer()
    await turns()
    assert etcd.sent == [4, 5]


async def test_closing_does_not_wait_for_anybody(etcd, call, gather_s_max):
    gather_s_max(60)
    call(8)
    await turns()
    etcd.answer()
    await turns()
    call(2)


async def test_what_is_done_of_a_call_is_shown_before_it_is_told_of_a_conflict(etcd):
    """Two operations on one key are two transactions, and the second writes nothing."""
    feed = Late()
    writes = committer.Committer(etcd, Layout("p/"), feed, 128)
    call = writes.commit([Put(b"0", b"1"), Put(b"0", b"2", ABSENT)], None)
    await turns()
    etcd.answer()
    await turns()
    etcd.answer(succeeds=False)
    await turns()
    assert not call.done()
    feed.shown.set()
    assert await call == [Done(1, 1), Conflict(ABSENT)]
    await writes.close()


class Absent(Etcd):
    """Nobody leads for `elections` attempts."""

    def __init__(self, elections):
        super().__init__()
        self.elections = self.attempts = elections

    async def call(self, method, request, timeout_s):
        self.attempts += 1
        if self.elections:
            self.elections -= 1
            raise NotReached("etcd has no leader")
        return await super().call(method, request, timeout_s)


@pytest.mark.parametrize("away_s", [0.5, 5.0])
async def test_only_while_etcd_has_been_away_for_long_nobody_waits_for_it(away_s, monkeypatch):
    monkeypatch.setattr(committer, "RETRY_S", 0.0)
    etcd, loop = Absent(elections=3), asyncio.get_running_loop()
    writes = committer.Committer(etcd, Layout("p/"), Seen(), 128)
    hour = SimpleNamespace(time=lambda: 3600.0, create_future=loop.create_future)
    writes._loop, etcd.answered_at = hour, 3600.0 - away_s  # nothing was written for an hour
    call = writes.commit([Put(b"0", b"")], None)
    await turns()
    if away_s > committer.WRITE_S_MAX:
        with pytest.raises(NotReached):
            await call
    else:
        etcd.answer()
        assert await call == [Done(1, 1)]
    await writes.close()


async def test_a_defect_leaves_nobody_without_an_answer(etcd):
    writes = committer.Committer(etcd, Layout("p/"), Seen(), committer.NESTED_OPERATIONS_MAX + 1)
    calls = [writes.commit([Put(b"%d" % number, b"")], None) for number in range(3)]
    await turns()
    _, answer = etcd._answers.pop()
    answer.set_exception(ZeroDivisionError())
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in told] == [OutcomeUnknown, Refused, Refused]
    await writes.close()
