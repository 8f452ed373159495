"""Server-sent events: the snapshot, the changes behind it, resuming, ending."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientTimeout
from callboard.api import watch as watching
from callboard.registry import ServiceTopic, watches
from msgspec.structs import replace

from .conftest import SOON_S, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Events:
    """The events of one watch; comments are kept apart."""

    def __init__(self, response):
        self.response = response
        self.headers = response.headers
        self.comments = []

    async def next(self):
        """(kind, index, data) of the next event; None at the end of the stream."""
        async with asyncio.timeout(SOON_S):
            fields = {}
            while line := await self.response.content.readline(max_line_length=2**26):
                line = line.rstrip(b"\n")
                if line.startswith(b":"):
                    self.comments.append(line)
                elif line:
                    name, _, value = line.partition(b": ")
                    fields[name.decode()] = value
                elif fields:
                    kind, index = fields["event"].decode(), int(fields["id"])
                    return kind, index, json.loads(fields["data"])
            return None

    async def snapshot(self):
        """The ids that a snapshot shows."""
        kind, _, data = await self.next()
        assert kind == "snapshot"
        return [instance["id"] for instance in data["instances"]]


@asynccontextmanager
async def watch(board, query="", last=None):
    url = f"http://{board.host}:{board.port}/v1/watch{query}"
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    endless = ClientTimeout(total=None)
    async with board.session.get(url, headers=headers, timeout=endless) as response:
        assert response.status == 200
        yield Events(response)


async def register(board, service, instance_id="one", **body):
    put = await board("PUT", f"/v1/services/{service}/instances/{instance_id}", body)
    assert put.status in (200, 201)
    return put


async def test_a_snapshot_comes_first_and_then_every_change(board, service):
    first = await register(board, service)
    async with watch(board, f"?service={service}") as events:
        assert events.headers["Content-Type"] == "text/event-stream"
        assert events.headers["Cache-Control"] == "no-cache"
        kind, index, data = await events.next()
        assert (kind, index, data) == ("snapshot", first.index, {"instances": [first.json]})
        second = await register(board, service, "two")
        assert await events.next() == ("put", second.index, second.json)
        await register(board, f"other-{service}")
        gone = await board("DELETE", f"/v1/services/{service}/instances/two")
        last = {**second.json, "reason": "deregistered"}
        assert await events.next() == ("delete", gone.index, last)


async def test_an_expiry_is_a_delete_with_its_reason(own_board, service):
    await register(own_board, service, ttl=1)
    async with watch(own_board, f"?service={service}") as events:
        await events.snapshot()
        own_board.clock.now_s += 2
        kind, _, data = await events.next()
        assert (kind, data["id"], data["reason"]) == ("delete", "one", "expired")


async def test_a_watch_covers_a_service_a_namespace_or_all(board, service):
    space = f"space-{service}"
    queries = [f"?service={service}&namespace={space}", f"?namespace={space}", "?namespace=*"]
    for query in queries:
        async with watch(board, query) as events:
            await events.next()
            elsewhere = await register(board, service, f"e{len(query)}")
            put = await register(board, service, f"h{len(query)}", namespace=space)
            wanted = [elsewhere, put] if query == "?namespace=*" else [put]
            for one in wanted:
                assert await events.next() == ("put", one.index, one.json)


async def test_without_a_namespace_it_is_the_default_one(board, service):
    async with watch(board) as events:
        await events.next()
        await register(board, service, namespace=f"space-{service}")
        await register(board, service)
        assert (await events.next())[2]["namespace"] == "default"


@pytest.mark.parametrize("by_header", [True, False])
async def test_it_resumes_after_the_last_event_without_gap_or_repeat(board, service, by_header):
    index = (await register(board, service)).index
    missed = [await register(board, service, name) for name in ("two", "three")]
    query = f"?service={service}" + ("" if by_header else f"&index={index}")
    async with watch(board, query, index if by_header else None) as events:
        for put in missed:
            assert await events.next() == ("put", put.index, put.json)


async def test_resuming_begins_before_there_is_anything_to_tell(board, service):
    index = (await register(board, service)).index
    async with asyncio.timeout(SOON_S), watch(board, f"?service={service}", index) as events:
        put = await register(board, service, "two")
        assert await events.next() == ("put", put.index, put.json)


async def test_the_header_beats_the_parameter(board, service):
    index = (await register(board, service)).index
    second = await register(board, service, "two")
    async with watch(board, f"?service={service}&index=1", index) as events:
        assert await events.next() == ("put", second.index, second.json)


@pytest.mark.parametrize("last", ["nonsense", "-1", "9" * 30, "٣"])
async def test_what_was_never_an_id_of_ours_gets_a_snapshot(board, service, last):
    await register(board, service)
    async with watch(board, f"?service={service}", last) as events:
        assert await events.snapshot() == ["one"]


async def test_an_index_of_the_future_gets_a_snapshot(board, service):
    """The board was made anew: whoever waited for the old index would miss all changes."""
    index = (await register(board, service)).index
    async with watch(board, f"?service={service}", index + 1000) as events:
        assert await events.snapshot() == ["one"]


async def test_what_is_too_old_gets_a_snapshot(own_board, service, monkeypatch):
    monkeypatch.setattr(watches, "HISTORY_EVENTS_MAX", 2)
    index = (await register(own_board, service)).index
    for port in range(1, 5):
        await register(own_board, service, port=port)
    async with watch(own_board, f"?service={service}", index) as events:
        assert await events.snapshot() == ["one"]


async def test_a_reader_that_falls_behind_gets_a_fresh_snapshot(own_board, service, monkeypatch):
    monkeypatch.setattr(watches, "QUEUE_EVENTS_MAX", 3)
    await register(own_board, service)
    async with watch(own_board, f"?service={service}") as events:
        assert await events.snapshot() == ["one"]
        operations = [{"op": "register", "service": service, "id": f"i{n}"} for n in range(9)]
        await own_board("POST", "/v1/batch", {"operations": operations})
        assert len(await events.snapshot()) == 10
        again = await register(own_board, service, port=1)
        assert await events.next() == ("put", again.index, again.json)


async def test_only_the_last_change_of_an_index_carries_it(own_board, service):
    """Whoever resumes after half of an index is told all of it again, and misses nothing."""
    topic = ServiceTopic("default", service.lower())
    with own_board.registry.subscribe(topic, own_board.registry.index) as subscription:
        before = own_board.registry.index
        for name in ("one", "two", "three"):
            await register(own_board, service, name)
        one, two, three = await subscription.next()
    together = [replace(one, index=two.index), two, three]
    encoded = watching._encoded_batch(together, before)
    ids = [int(event.split(b"\n")[0].removeprefix(b"id: ")) for event in encoded]
    assert ids == [before, two.index, three.index]


async def test_a_silent_watch_is_kept_open_by_comments(own_board, service, monkeypatch):
    monkeypatch.setattr(watching, "PING_S", 0.01)
    async with watch(own_board, f"?service={service}") as events:
        await events.snapshot()
        reading = asyncio.create_task(events.next())
        await until(lambda: len(events.comments) >= 2)
        put = await register(own_board, service)
        assert await reading == ("put", put.index, put.json)
    assert set(events.comments) == {b": ping"}


async def test_a_watcher_that_goes_leaves_nothing_behind(own_board, service):
    async with watch(own_board, f"?service={service}") as events:
        await events.snapshot()
    await until(lambda: not own_board.registry._board.watches._subscriptions)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(("?service=a/b", "service"), ("?namespace=a.b", "namespace"), ("?index=x", "index")),
        *(("?namespace=*&service=web", "service"), ("?consistency=x", "consistency")),
    ],
)
async def test_a_wrong_watch_is_refused_before_it_begins(board, query, field):
    assert (await board("GET", f"/v1/watch{query}")).error == (400, "invalid_input", field)


async def test_head_answers_the_headers_and_ends(board):
    got = await board("HEAD", "/v1/watch")
    assert (got.status, got.headers["Content-Type"], got.body) == (200, "text/event-stream", b"")
