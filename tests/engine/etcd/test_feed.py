"""What the watch brings, told to the history and the election; without an etcd."""

from types import SimpleNamespace

from aetcd.rpc import WatchResponse
from callboard.registry.engine.etcd.feed import Feed, Position
from callboard.registry.engine.etcd.layout import Layout


def response(*events):
    made = WatchResponse()
    for key, value, revision in events:
        event = made.events.add(type=0 if value is not None else 1)
        event.kv.key, event.kv.mod_revision = key, revision
        if value is not None:
            event.kv.value, event.kv.create_revision = value, revision
    return made


def feed(keepers):
    connection = SimpleNamespace(on_move=[])
    start = Position(store=5, board=0)
    return Feed(connection, Layout("p/"), start, lambda *told: keepers.append(told), lambda: None)


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
