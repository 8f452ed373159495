"""What the watch brings, told to the history and the election; without an etcd."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from callboard.registry.engine import NO_PAIR, Compacted
from callboard.registry.engine.etcd import feed as feeding
from callboard.registry.engine.etcd.callboard_etcd_pb2 import RangeResponse, WatchResponse
from callboard.registry.engine.etcd.errors import NotReached
from callboard.registry.engine.etcd.feed import Feed, Position, read_position
from callboard.registry.engine.etcd.layout import Layout
from callboard.registry.engine.etcd.methods import WATCH
from callboard.registry.engine.etcd.rpc import Stream


def response(*events):
    made = WatchResponse()
    for key, value, revision in events:
        event = made.events.add(type=0 if value is not None else 1)
        event.kv.key, event.kv.mod_revision = key, revision
        if value is not None:
            event.kv.value, event.kv.create_revision = value, revision
    return made


def feed(keepers, *, exclusive=False):
    connection = SimpleNamespace(on_move=[])
    start = Position(store=5, board=5 if exclusive else 0)
    layout = Layout("p/", exclusive=exclusive)
    return Feed(connection, layout, start, lambda *told: keepers.append(told), lambda: None)


def test_what_is_on_its_way_while_a_read_overtakes_it_is_not_lost():
    keepers = []
    one = feed(keepers)
    one.reflected(Position(store=60, board=0))
    one._take(response((b"p/keeper", b"somebody", 50)))
    assert keepers == [(b"somebody", 50)]


def test_what_comes_twice_is_told_once():
    one = feed([])
    batch = response((b"p/last", b"", 7), (b"p/b/a", b"1", 7), (b"p/b/b", b"1", 7))
    one._take(batch)
    one._take(batch)
    one._take(response((b"p/b/b", b"1", 7), (b"p/last", b"expired", 8), (b"p/b/a", None, 8)))
    assert [(c.key, c.value, c.revision, c.expired) for c in one.history.after(0)] == [
        (b"a", b"1", 7, False),
        (b"b", b"1", 7, False),
        (b"a", None, 8, True),
    ]
    assert one.seen == 8


def test_a_transaction_of_conflicts_is_seen_and_changes_nothing():
    one = feed([])
    one._take(response((b"p/last", b"", 9)))
    assert (one.seen, one.history.revision) == (9, 0)


def test_in_an_etcd_of_its_own_the_board_comes_to_every_revision():
    keepers = []
    one = feed(keepers, exclusive=True)
    one._take(response((b"p/b/a", b"1", 6), (b"p/keeper", b"somebody", 7)))
    one._take(response((b"p/last", b"", 8)))
    one._take(response((b"p/last", b"", 9), (b"p/b/a", b"2", 9)))
    one._take(response((b"elsewhere", b"", 10)))
    one._take(response())
    assert [(change.key, change.revision) for change in one.history.after(5)] == [
        *((b"a", 6), (NO_PAIR, 7)),
        (NO_PAIR, 8),
        (b"a", 9),
        (NO_PAIR, 10),
    ]
    assert (one.seen, one.history.revision) == (10, 10)
    assert keepers == [(b"somebody", 7)]


@pytest.mark.parametrize(("exclusive", "board"), [(False, 11), (True, 12)])
async def test_only_other_users_make_etcd_go_further_than_the_board(exclusive, board):
    layout = Layout("p/", exclusive=exclusive)
    assert await read_position(CompactingConnection(away=0), layout) == (12, board)


class MovingConnection:
    """Calls have moved on to the second endpoint by the time that the first takes the watch."""

    def __init__(self):
        self.on_move = []
        self.first, self.endpoint = SimpleNamespace(url="first"), SimpleNamespace(url="second")
        self.followed = []

    @asynccontextmanager
    async def stream(self, endpoint, method, request, take):
        self.followed.append(endpoint.url)
        yield Stream(take)


async def test_a_watch_does_not_stay_where_calls_have_left():
    connection = MovingConnection()
    one = Feed(connection, Layout("p/"), Position(5, 5), lambda *told: None, lambda: None)
    await asyncio.wait_for(one._follow(connection.first), 20)
    staying = asyncio.create_task(one._follow(connection.endpoint))
    await asyncio.sleep(0)
    assert connection.followed == ["first", "second"]
    assert not staying.done()
    one.follow_anew()
    await asyncio.wait_for(staying, 20)


class CompactingConnection:
    """An etcd that has compacted everything up to revision 9; `away` calls find nobody there."""

    def __init__(self, away):
        self.away = away
        self.on_move = []
        self.endpoint = SimpleNamespace(url="etcd")

    @asynccontextmanager
    async def stream(self, endpoint, method, request, take):
        assert (endpoint, method) == (self.endpoint, WATCH)
        stream = Stream(take)
        answer = WatchResponse(canceled=True, compact_revision=9)
        asyncio.get_running_loop().call_soon(stream.message, answer)
        yield stream

    async def call_any(self, method, request):
        if self.away:
            self.away -= 1
            raise NotReached("etcd has no leader")
        answer = RangeResponse()
        answer.header.revision = 12
        answer.kvs.add(mod_revision=11)
        return answer

    def told_term(self, term):
        pass


async def test_a_compaction_that_shows_while_nobody_leads_is_got_over(monkeypatch):
    monkeypatch.setattr(feeding, "RECONNECT_S", 0.0)
    connection = CompactingConnection(away=3)
    start = Position(store=5, board=0)
    one = Feed(connection, Layout("p/"), start, lambda *told: None, lambda: None)
    following = asyncio.create_task(one.run())
    reached = asyncio.create_task(one.reach(11))
    await asyncio.wait({following, reached}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert reached.done()
    assert not following.done()
    with pytest.raises(Compacted):
        one.history.after(0)
    following.cancel()
