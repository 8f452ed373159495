"""Who is woken by what, what a subscription gets, and that nothing is left behind."""

import asyncio

import pytest
from callboard.registry import watches as module
from callboard.registry.names import InstanceName
from callboard.registry.views import Event, KvTopic, ServicesTopic, ServiceTopic
from callboard.registry.watches import Ended, Lagged, Watches

LONG_S = 60.0
ALL, DEFAULT, WEB = ServicesTopic(None), ServicesTopic("default"), ServiceTopic("default", "web")
DB, BLUE_WEB = ServiceTopic("default", "db"), ServiceTopic("blue", "web")


def event(index, service="web", namespace="default"):
    return Event(index, InstanceName(namespace, service, "a"), None, None, False)


def indices(events):
    return [event.index for event in events]


@pytest.fixture
def watches():
    made = Watches()
    made.loaded(0)
    return made


class Waiting:
    """Blocking reads that are under way, by topic."""

    def __init__(self, watches, *topics):
        self.tasks = {topic: asyncio.create_task(watches.wait(topic, LONG_S)) for topic in topics}

    async def woken(self):
        """Which have answered that there was a change, once everything has had its turn."""
        await turns()
        return {topic for topic, task in self.tasks.items() if task.done() and task.result()}

    async def __aenter__(self):
        await turns()
        return self

    async def __aexit__(self, *_):
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def turns():
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def left_behind(watches):
    return watches._waiters, watches._subscriptions, dict(watches._prefix_chars)


NOTHING = ({}, {}, {})


async def test_a_change_wakes_only_those_who_asked_about_it(watches):
    async with Waiting(watches, ALL, DEFAULT, WEB, DB, BLUE_WEB, KvTopic("web", True)) as waiting:
        watches.publish([event(1)])
        assert await waiting.woken() == {ALL, DEFAULT, WEB}
    assert left_behind(watches) == NOTHING


async def test_one_batch_wakes_everybody_it_concerns(watches):
    async with Waiting(watches, WEB, DB, BLUE_WEB) as waiting:
        watches.publish([event(1), event(2, namespace="blue")])
        assert await waiting.woken() == {WEB, BLUE_WEB}


async def test_a_key_wakes_its_readers_and_those_of_its_prefixes(watches):
    asked = {
        KvTopic("a/b", False), KvTopic("a/b", True), KvTopic("a/", True), KvTopic("", True),
        KvTopic("a/", False), KvTopic("a/c", True), KvTopic("a/b/c", False), KvTopic("b", True),
    }  # fmt: skip
    async with Waiting(watches, *asked) as waiting:
        watches.kv_changed("a/b")
        assert await waiting.woken() == {
            KvTopic("a/b", False), KvTopic("a/b", True), KvTopic("a/", True), KvTopic("", True),
        }  # fmt: skip
    assert left_behind(watches) == NOTHING


async def test_many_may_wait_for_one_thing_and_all_are_woken(watches):
    waiting = [asyncio.create_task(watches.wait(WEB, LONG_S)) for _ in range(100)]
    await turns()
    watches.publish([event(1)])
    assert await asyncio.gather(*waiting) == [True] * 100
    assert left_behind(watches) == NOTHING


@pytest.mark.parametrize("topic", [WEB, KvTopic("a/", True), KvTopic("a", False)])
async def test_a_wait_that_times_out_says_so_and_leaves_nothing(watches, topic):
    assert await watches.wait(topic, 0.001) is False
    assert await watches.wait(topic, 0.0) is False
    assert left_behind(watches) == NOTHING


async def test_a_cancelled_wait_leaves_nothing_and_keeps_the_others(watches):
    kept = asyncio.create_task(watches.wait(KvTopic("a", True), LONG_S))
    cancelled = [asyncio.create_task(watches.wait(KvTopic("a", True), LONG_S)) for _ in range(3)]
    await turns()
    for task in cancelled:
        task.cancel()
    results = await asyncio.gather(*cancelled, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    watches.kv_changed("abc")
    assert await kept is True
    assert left_behind(watches) == NOTHING


async def test_waits_that_begin_while_others_wake_are_not_lost(watches):
    """A reader that comes back at once waits for the next change, not the one it has seen."""
    first = asyncio.create_task(watches.wait(WEB, LONG_S))
    await turns()
    watches.publish([event(1)])
    second = asyncio.create_task(watches.wait(WEB, LONG_S))
    await turns()
    assert await first is True
    assert not second.done()
    watches.publish([event(2)])
    assert await second is True
    assert left_behind(watches) == NOTHING


async def test_a_subscription_gets_the_events_of_its_topic_in_order(watches):
    with watches.subscribe(WEB, None) as web, watches.subscribe(ALL, None) as everything:
        watches.publish([event(1), event(2, "db"), event(3)])
        watches.publish([event(4, namespace="blue")])
        watches.publish([event(5)])
        assert indices(await web.next()) == [1, 3, 5]
        assert indices(await everything.next()) == [1, 2, 3, 4, 5]
    assert left_behind(watches) == NOTHING


async def test_a_reader_that_waits_gets_a_batch_whole(watches):
    with watches.subscribe(WEB, None) as subscription:
        reader = asyncio.create_task(subscription.next())
        await turns()
        assert not reader.done()
        watches.publish([event(index) for index in range(1, 501)])
        assert indices(await reader) == list(range(1, 501))


async def test_a_cancelled_reader_loses_nothing(watches):
    with watches.subscribe(WEB, None) as subscription:
        for index in (1, 2):
            reader = asyncio.create_task(subscription.next())
            await turns()
            reader.cancel()
            if index == 2:
                watches.publish([event(1)])  # between the cancellation and its arrival
            with pytest.raises(asyncio.CancelledError):
                await reader
        assert indices(await subscription.next()) == [1]


async def test_a_subscription_resumes_from_the_history(watches):
    watches.publish([event(1), event(2, "db"), event(3)])
    watches.publish([event(4)])
    for since, missed in ((0, [1, 3, 4]), (1, [3, 4]), (2, [3, 4]), (3, [4]), (4, [])):
        with watches.subscribe(WEB, since) as subscription:
            watches.publish([event(5, "other")])
            watches.publish([event(since + 100)])
            assert indices(await subscription.next()) == [*missed, since + 100]
            watches._history.pop()
            watches._history.pop()


async def test_events_of_one_revision_come_together_or_not_at_all(watches):
    """An engine that commits many at once gives them one revision."""
    watches.publish([event(1), event(1), event(1)])
    watches.publish([event(2), event(2)])
    with watches.subscribe(ALL, 0) as all_of_them, watches.subscribe(ALL, 1) as second:
        assert indices(await all_of_them.next()) == [1, 1, 1, 2, 2]
        assert indices(await second.next()) == [2, 2]


async def test_what_the_history_has_forgotten_is_lagged_and_the_rest_is_whole(watches, monkeypatch):
    monkeypatch.setattr(module, "HISTORY_EVENTS_MAX", 5)
    for index in range(1, 11):
        watches.publish([event(index)])
    for since in range(5):
        with pytest.raises(Lagged):
            watches.subscribe(WEB, since)
    for since in range(5, 10):
        with watches.subscribe(WEB, since) as subscription:
            assert indices(await subscription.next()) == list(range(since + 1, 11))
    watches.publish([event(11)] * 6)
    with pytest.raises(Lagged):
        watches.subscribe(WEB, 10)
    assert left_behind(watches) == NOTHING


async def test_after_a_load_only_later_changes_can_be_resumed(watches):
    watches.publish([event(1)])
    watches.loaded(7)
    with pytest.raises(Lagged):
        watches.subscribe(WEB, 6)
    watches.publish([event(8)])
    with watches.subscribe(WEB, 7) as subscription:
        assert indices(await subscription.next()) == [8]


async def test_a_reader_that_falls_behind_is_told_once_and_goes_on(watches, monkeypatch):
    monkeypatch.setattr(module, "QUEUE_EVENTS_MAX", 10)
    with watches.subscribe(WEB, None) as slow, watches.subscribe(WEB, None) as fast:
        watches.publish([event(index) for index in range(1, 11)])
        assert len(await fast.next()) == 10
        watches.publish([event(11)])
        watches.publish([event(12)])
        with pytest.raises(Lagged):
            await slow.next()
        watches.publish([event(13)])
        assert indices(await slow.next()) == [13]
        assert indices(await fast.next()) == [11, 12, 13]


async def test_the_queue_of_a_reader_that_never_comes_is_bounded(watches, monkeypatch):
    monkeypatch.setattr(module, "QUEUE_EVENTS_MAX", 10)
    with watches.subscribe(WEB, None) as subscription:
        for index in range(1, 1000):
            watches.publish([event(index)])
            assert len(subscription._events) <= 10


async def test_the_history_is_bounded(watches, monkeypatch):
    monkeypatch.setattr(module, "HISTORY_EVENTS_MAX", 10)
    for index in range(1, 1000):
        watches.publish([event(index), event(index)])
        assert len(watches._history) <= 10


async def test_closing_answers_every_wait_and_ends_subscriptions_after_what_they_have(watches):
    waits = [asyncio.create_task(watches.wait(t, LONG_S)) for t in (WEB, DB, KvTopic("", True))]
    queued, idle = watches.subscribe(WEB, None), watches.subscribe(DB, None)
    reader = asyncio.create_task(idle.next())
    await turns()
    watches.publish([event(1)])
    watches.close()
    assert await asyncio.gather(*waits) == [True, False, False]
    assert indices(await queued.next()) == [1]
    for subscription in (queued, idle):
        with pytest.raises(Ended):
            await subscription.next()
    with pytest.raises(Ended):
        await reader
    queued.close()
    idle.close()
    assert left_behind(watches) == NOTHING


async def test_whoever_comes_after_the_close_is_not_kept_waiting(watches):
    watches.publish([event(1)])
    watches.close()
    assert await watches.wait(WEB, LONG_S) is False
    with watches.subscribe(WEB, 0) as subscription:
        assert indices(await subscription.next()) == [1]
        with pytest.raises(Ended):
            await subscription.next()
    assert left_behind(watches) == NOTHING


async def test_a_subscription_that_was_closed_hears_nothing_more_and_may_be_closed_again(watches):
    first, second = watches.subscribe(WEB, None), watches.subscribe(WEB, None)
    first.close()
    first.close()
    watches.publish([event(1)])
    assert first._events == []
    assert indices(await second.next()) == [1]
    second.close()
    assert left_behind(watches) == NOTHING
