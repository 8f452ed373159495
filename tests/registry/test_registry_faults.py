"""What a registry says when its engine cannot, when it stops, and when the input is no good."""

import asyncio
import threading

import pytest
from callboard.registry import (
    Ended,
    Heartbeat,
    Instance,
    InstanceName,
    InvalidInput,
    KvTopic,
    Register,
    Registry,
    ServicesTopic,
    Status,
    TooLarge,
    Unavailable,
    restoring,
)
from callboard.registry.engine import CannotStart, OutcomeUnknown, Put, Refused, SqliteEngine
from callboard.registry.instance import encode_instance
from callboard.registry.kv import VALUE_BYTES_MAX, StoredKv, encode_kv
from callboard.registry.plan import REGISTRATION_BYTES_MAX
from callboard.registry.relay.passing import LOOK_AGAIN_S
from callboard.registry.writes import STATUS_WRITES_MAX

NAME = InstanceName("default", "web", "web-1")
SETTLE_S_MAX = 10.0


def web(instance_id="web-1", **fields):
    given = {"namespace": "default", "service": "web", "address": "10.0.0.1"}
    return Instance(id=instance_id, **(given | fields))


class Faulty:
    """An engine whose commits and changes can be held up, and whose commits can fail."""

    def __init__(self, engine):
        self._engine = engine
        self.changes = asyncio.Event()
        self.changes.set()
        self.error = None
        self.before_commit = None
        self.held = True
        self.cluster = ""

    def identity(self):
        return self.cluster

    def holds(self):
        return self.held

    def __getattr__(self, name):
        return getattr(self._engine, name)

    async def watch(self, from_revision):
        async for changes in self._engine.watch(from_revision):
            await self.changes.wait()
            yield changes

    async def commit(self, operations, guard=None):
        if self.error is not None:
            raise self.error
        if self.before_commit is not None:
            await self.before_commit()
        return await self._engine.commit(operations, guard)

    async def confirm(self):
        if self.error is not None:
            raise self.error
        return await self._engine.confirm()

    async def commit_directly(self, *operations):
        return await self._engine.commit(operations)


@pytest.fixture
async def engine(tmp_path):
    sqlite = await SqliteEngine.open(tmp_path / "data")
    yield Faulty(sqlite)
    await sqlite.close()


@pytest.fixture
async def registry(engine):
    made = Registry(engine, node="one")
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("error", "code"),
    [(Refused("no space"), "no_quorum"), (OutcomeUnknown("gone"), "outcome_unknown")],
)
async def test_writes_say_why_they_cannot_and_reads_go_on(registry, engine, error, code):
    await registry.register(web())
    engine.error = error
    for write in (
        registry.register(web(port=2)),
        registry.deregister(NAME),
        registry.heartbeat(Heartbeat(NAME, Status.CRITICAL)),
        registry.batch([Register(web("web-2"))]),
        registry.kv_put("a", b""),
        registry.kv_delete("a"),
    ):
        with pytest.raises(Unavailable) as caught:
            await write
        assert caught.value.code == code
        assert str(error) in caught.value.message
    assert registry.instance(NAME).instance == web()
    assert registry.renew([NAME]) == []
    assert (await registry.register(web())).created is False


async def test_a_keeper_that_may_have_been_replaced_acknowledges_nothing_by_itself(
    registry, engine
):
    await registry.register(web())
    engine.held = False
    async with asyncio.timeout(SETTLE_S_MAX):
        waiting = [
            asyncio.create_task(each)
            for each in (
                registry.heartbeat(Heartbeat(NAME)),
                registry.register(web()),
                registry.renew_many([NAME]),
            )
        ]
        await asyncio.sleep(3 * LOOK_AGAIN_S)
        assert not any(each.done() for each in waiting)
        engine.held = True
        beat, registered, unknown = await asyncio.gather(*waiting)
    assert beat is not None
    assert not registered.created
    assert unknown == []


async def test_a_strong_read_says_that_nobody_confirmed(registry, engine):
    engine.error = Refused("no majority")
    with pytest.raises(Unavailable) as caught:
        await registry.confirm()
    assert caught.value.code == "no_quorum"


async def test_a_strong_read_does_not_wait_for_an_engine_that_never_answers(
    registry, engine, monkeypatch
):
    monkeypatch.setattr("callboard.registry.writes.CONFIRM_S_MAX", 0.01)
    engine.confirm = asyncio.Event().wait
    async with asyncio.timeout(SETTLE_S_MAX):
        with pytest.raises(Unavailable, match="does not come up to date") as caught:
            await registry.confirm()
    assert caught.value.code == "no_quorum"


async def test_a_strong_read_sees_what_was_written_before_it(registry, engine):
    engine.changes.clear()
    write = asyncio.create_task(registry.register(web()))
    while engine.status().revision == 0:  # noqa: ASYNC110  # the writer has no event for us
        await asyncio.sleep(0)
    read = asyncio.create_task(registry.confirm())
    await asyncio.sleep(0)
    assert not read.done()
    engine.changes.set()
    await read
    assert registry.instance(NAME) is not None
    await write


@pytest.mark.parametrize(
    ("call", "done", "afterwards"),
    [
        (lambda at: at.register(web()), lambda found: not found.created, web()),
        (
            lambda at: at.heartbeat(Heartbeat(NAME, Status.PASSING)),
            lambda found: found is not None,
            web(port=2, status=Status.PASSING),
        ),
        (lambda at: at.deregister(NAME._replace(id="web-2")), lambda found: found is True, None),
        (lambda at: at.heartbeat(Heartbeat(NAME._replace(id="web-2"))), lambda found: found, None),
        (lambda at: at.kv_delete_prefix("a/"), lambda found: found == 1, None),
    ],
    ids=["identical", "same status", "not shown", "beat", "prefix"],
)
async def test_a_node_of_a_cluster_decides_nothing_by_what_it_alone_shows(
    registry, engine, call, done, afterwards
):
    """Another node has written, and was answered, before this one shows it."""
    await registry.register(web())
    engine.cluster = "here"
    engine.changes.clear()
    await engine.commit_directly(
        Put(b"i/default/web/web-1", encode_instance(web(port=2, status=Status.CRITICAL))),
        Put(b"i/default/web/web-2", encode_instance(web("web-2"))),
        Put(b"k/a/1", encode_kv(StoredKv(0, 0, b""))),
    )
    calling = asyncio.create_task(call(registry))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not calling.done()
    engine.changes.set()
    async with asyncio.timeout(SETTLE_S_MAX):
        assert done(await calling)
    if afterwards is not None:
        assert registry.instance(NAME).instance == afterwards


async def test_without_a_majority_what_is_not_shown_is_not_called_absent(registry, engine):
    engine.cluster = "here"
    engine.error = Refused("no majority")
    for call in (registry.deregister(NAME), registry.heartbeat(Heartbeat(NAME))):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.code == "no_quorum"


async def test_a_read_waits_for_what_its_client_has_seen_at_another_node(
    registry, engine, monkeypatch
):
    await registry.register(web())
    engine.changes.clear()
    await engine.commit_directly(Put(b"i/default/web/web-2", encode_instance(web("web-2"))))
    await registry.catch_up(2)  # alone, it is another board's
    assert registry.index == 1
    engine.cluster = "here"
    reading = asyncio.create_task(registry.catch_up(2))
    await asyncio.sleep(0)
    assert not reading.done()
    engine.changes.set()
    async with asyncio.timeout(SETTLE_S_MAX):
        await reading
        assert registry.index == 2
        monkeypatch.setattr("callboard.registry.registry.CATCH_UP_S_MAX", 0.01)
        await registry.catch_up(1000)


async def test_a_draining_node_refuses_writes_and_lets_waiting_reads_answer(registry):
    await registry.register(web())
    wait = asyncio.create_task(
        registry.wait_past(KvTopic("a", recurse=False), registry.index, SETTLE_S_MAX)
    )
    await asyncio.sleep(0)
    registry.drain()
    assert await wait is False
    with pytest.raises(Unavailable) as caught:
        await registry.kv_put("a", b"")
    assert caught.value.code == "shutting_down"
    assert registry.renew([NAME]) == []


async def test_a_node_that_stops_does_not_keep_the_leases_again(registry, engine):
    await engine.resign()
    registry.drain()
    for _ in range(20):
        await asyncio.sleep(0)
    assert engine.keeper() is None


async def test_a_write_that_is_not_shown_before_the_stop_is_neither_refused_nor_left_waiting(
    registry, engine
):
    """Whether its commit is done when the node stops, or only afterwards."""
    engine.changes.clear()
    early = asyncio.create_task(registry.kv_put("a", b""))
    while engine.status().revision == 0:  # noqa: ASYNC110  # the writer has no event for us
        await asyncio.sleep(0)
    stopped = asyncio.Event()
    engine.before_commit = stopped.wait
    late = asyncio.create_task(registry.kv_put("b", b""))
    strong = asyncio.create_task(registry.confirm())
    await asyncio.sleep(0)
    await registry.close()
    stopped.set()
    async with asyncio.timeout(SETTLE_S_MAX):
        answers = await asyncio.gather(early, late, strong, return_exceptions=True)
    codes = [answer.code for answer in answers]
    assert codes == ["outcome_unknown", "outcome_unknown", "shutting_down"]
    assert engine.status().revision == 2


async def test_a_status_is_written_onto_whatever_the_registration_is_now(registry, engine):
    """Replaced while the status was on its way: the new address stays, the status comes."""
    await registry.register(web())
    replacements = iter([web(port=2), web(port=3)])

    async def replace():
        engine.before_commit = None
        for replacement in replacements:
            await registry.register(replacement)
            break
        engine.before_commit = replace

    engine.before_commit = replace
    await registry.heartbeat(Heartbeat(NAME, Status.WARNING, "slow"))
    shown = registry.instance(NAME).instance
    assert shown == web(port=3, status=Status.WARNING, output="slow")


async def test_two_programs_that_fight_over_an_instance_are_told(registry, engine):
    await registry.register(web())
    ports = iter(range(1, 10_000))

    async def replace():
        engine.before_commit = None
        await registry.register(web(port=next(ports)))
        engine.before_commit = replace

    engine.before_commit = replace
    with pytest.raises(Unavailable, match="replaced"):
        await registry.heartbeat(Heartbeat(NAME, Status.WARNING))
    assert next(ports) == STATUS_WRITES_MAX + 2


async def test_a_status_that_cannot_be_written_anew_speaks_for_itself_alone(registry, engine):
    await registry.register(web())

    async def replace():
        """Before the batch is committed; what it then tries again is refused."""
        await engine.commit_directly(
            Put(b"i/default/web/web-1", encode_instance(web(port=2)), expect=1)
        )
        engine.before_commit = refuse

    async def refuse():
        raise Refused("no space")

    engine.before_commit = replace
    registered, beaten = await registry.batch(
        [Register(web("web-2")), Heartbeat(NAME, Status.WARNING)]
    )
    assert registered.created
    assert isinstance(beaten, Unavailable)
    assert "no space" in beaten.message


async def test_a_defect_in_holding_the_election_is_no_lost_election(tmp_path):
    class Forgetful(SqliteEngine):
        async def hold(self, guard):
            raise LookupError("a defect")

    engine = await Forgetful.open(tmp_path / "data")
    noticed = asyncio.Event()
    registry = Registry(engine, node="one", on_failure=noticed.set)
    await registry.start()
    async with asyncio.timeout(SETTLE_S_MAX):
        await noticed.wait()
    assert registry.failed
    await registry.close()
    await engine.close()


async def test_what_is_too_large_is_refused_and_named(registry):
    with pytest.raises(TooLarge) as caught:
        await registry.kv_put("a", bytes(VALUE_BYTES_MAX + 1))
    assert caught.value.field == "value"
    with pytest.raises(TooLarge):
        await registry.register(web(meta={"a": "x" * REGISTRATION_BYTES_MAX}))
    assert await registry.kv_put("a", bytes(VALUE_BYTES_MAX))
    assert registry.index == 1


async def test_a_file_that_is_no_snapshot_changes_nothing(registry, tmp_path):
    await registry.register(web())
    (tmp_path / "notes.txt").write_text("no snapshot")
    for name in ("notes.txt", "missing"):
        with pytest.raises(InvalidInput) as caught:
            await registry.restore(str(tmp_path / name))
        assert caught.value.field == "snapshot"
    assert registry.instance(NAME) is not None
    assert registry.index == 1


async def test_what_comes_while_a_snapshot_is_read_goes_with_the_rest(
    registry, tmp_path, monkeypatch
):
    await registry.register(web())
    path = str(tmp_path / "snapshot")
    await registry.save(path)
    read, reading, may_end = restoring._next_page, threading.Event(), threading.Event()

    def next_page(pages):
        if (page := read(pages)) is None:
            reading.set()
            assert may_end.wait(SETTLE_S_MAX)
        return page

    monkeypatch.setattr(restoring, "_next_page", next_page)
    restored = asyncio.create_task(registry.restore(path))
    assert await asyncio.to_thread(reading.wait, SETTLE_S_MAX)
    await registry.register(web("web-2"))
    may_end.set()
    await restored
    assert [listed.instance.id for listed in registry.instances("default", "web")] == ["web-1"]


async def test_a_snapshot_that_cannot_be_written_is_refused(registry, tmp_path):
    with pytest.raises(Unavailable, match="snapshot"):
        await registry.save(str(tmp_path / "no" / "such" / "directory"))


@pytest.mark.parametrize("key", [b"i/default/web/a", b"k/a"])
async def test_a_board_that_this_version_cannot_read_does_not_start(engine, key):
    await engine.commit_directly(Put(key, b"\xc1 of the future"))
    registry = Registry(engine, node="one")
    with pytest.raises(CannotStart, match=repr(key)[2:-1]):
        await registry.start()
    await registry.close()


async def test_a_change_that_this_version_cannot_read_harms_no_other(registry, engine, caplog):
    await engine.commit_directly(Put(b"i/default/web/bad", b"\xc1"), Put(b"other", b""))
    await registry.register(web())
    assert registry.instance_count == 1
    assert "i/default/web/bad" in caplog.text


async def test_a_registry_that_was_closed_leaves_no_task(engine):
    before = asyncio.all_tasks()
    registry = Registry(engine, node="one")
    await registry.start()
    assert asyncio.all_tasks() > before
    await registry.close()
    assert asyncio.all_tasks() == before
    with registry.subscribe(ServicesTopic(None)) as subscription, pytest.raises(Ended):
        await subscription.next()
