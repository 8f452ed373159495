"""Loads and what comes between their pages, without an etcd."""

import asyncio

import pytest
from callboard.registry.engine import OutcomeUnknown, Refused
from callboard.registry.engine.etcd import loading
from callboard.registry.engine.etcd.callboard_etcd_pb2 import (
    KeyValue,
    RangeResponse,
    ResponseHeader,
)
from callboard.registry.engine.etcd.errors import NotReached, Unwritable
from callboard.registry.engine.etcd.layout import Layout

HEADER = ResponseHeader(revision=7)


class Answers:
    """A connection on which each question gets the next answer."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def told_term(self, term):
        pass

    async def call_any(self, method, request):
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def pairs(*names, more=False):
    kvs = [KeyValue(key=b"p/b/" + name, value=b"v", mod_revision=5) for name in names]
    return RangeResponse(header=HEADER, kvs=kvs, more=more)


def loader(*answers):
    return loading.Loader(Answers(*answers), Layout("p/"))


async def loaded(*answers):
    _, pages = await loader(*answers).load()
    return [pair.key async for page in pages for pair in page]


async def test_a_load_goes_on_over_an_election():
    changed = OutcomeUnknown("etcdserver: leader changed")
    position = RangeResponse(header=HEADER)
    keys = await loaded(
        *(NotReached("no leader"), position, changed, pairs(b"a", b"b", more=True)),
        *(changed, NotReached("no leader"), pairs(b"c")),
    )
    assert keys == [b"a", b"b", b"c"]


async def test_a_load_that_nobody_answers_is_refused_in_the_end(monkeypatch):
    monkeypatch.setattr(loading, "ELECTIONS_S_MAX", 0.3)
    with pytest.raises(Refused, match="no leader"):
        await loaded(NotReached("no leader"))


async def test_what_waiting_does_not_mend_is_said_at_once(monkeypatch):
    monkeypatch.setattr(loading, "ELECTIONS_S_MAX", float("inf"))
    with pytest.raises(Unwritable, match="grant it"):
        await loaded(Unwritable("grant it"))


async def test_a_load_ends_with_the_node(monkeypatch):
    monkeypatch.setattr(loading, "ELECTIONS_S_MAX", float("inf"))
    ending = loader(NotReached("no leader"))
    ending.close()
    with pytest.raises(Refused, match="stopping"):
        await ending.load()


class Asked(Answers):
    """The last question waits for `answered`."""

    def __init__(self, *answers):
        super().__init__(*answers)
        self.asked, self.answered, self.given_up = asyncio.Event(), asyncio.Event(), False

    async def call_any(self, method, request):
        if len(self._answers) == 1:
            self.asked.set()
            try:
                await self.answered.wait()
            except asyncio.CancelledError:
                self.given_up = True
                raise
        return await super().call_any(method, request)


async def first_of_two():
    """A connection, and pages of which one has been read while the next is asked for."""
    connection = Asked(RangeResponse(header=HEADER), pairs(b"a", more=True), pairs(b"b"))
    _, pages = await loading.Loader(connection, Layout("p/")).load()
    assert [pair.key for pair in await anext(pages)] == [b"a"]
    await connection.asked.wait()
    return connection, pages


async def test_etcd_is_asked_for_a_page_while_the_one_before_is_read():
    connection, pages = await first_of_two()
    connection.answered.set()
    assert [[pair.key for pair in page] async for page in pages] == [[b"b"]]


async def test_who_leaves_a_load_early_leaves_no_question():
    connection, pages = await first_of_two()
    await pages.aclose()
    assert connection.given_up
