"""Expiry while others register, renew, replace and deregister: nothing acknowledged is lost."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from callboard.registry import (
    Deregister,
    Heartbeat,
    Instance,
    InstanceName,
    Register,
    Registry,
    Renewal,
    ServicesTopic,
    Status,
)
from callboard.registry.engine import Delete, OutcomeUnknown, Refused, SqliteEngine, Superseded
from callboard.registry.expiry import DELETES_PER_COMMIT_MAX, RETRY_S
from callboard.registry.mass_expiry import MassExpiry

NAME = InstanceName("default", "web", "web-1")
TTL_S = 1.5
SETTLE_S_MAX = 10.0


def web(instance_id="web-1", **fields):
    given = {"namespace": "default", "service": "web", "address": "10.0.0.1", "ttl": TTL_S}
    return Instance(id=instance_id, **(given | fields))


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class Slow:
    """An engine whose expiries and changes can be held up or refused; no keeper runs by itself."""

    def __init__(self, engine):
        self._engine = engine
        self.expiries = asyncio.Event()
        """Cleared: expiries wait before they reach the engine."""
        self.answers = asyncio.Event()
        """Cleared: expiries are done, and nobody is told."""
        self.changes = asyncio.Event()
        """Cleared: nothing new is shown, whatever has been written."""
        for gate in (self.expiries, self.answers, self.changes):
            gate.set()
        self.error = None
        self.expired = []

    def __getattr__(self, name):
        return getattr(self._engine, name)

    async def campaign(self, name, address=""):
        return self._engine._guard

    async def watch(self, from_revision):
        async for changes in self._engine.watch(from_revision):
            await self.changes.wait()
            yield changes

    async def commit(self, operations, guard=None):
        if not any(isinstance(each, Delete) and each.expired for each in operations):
            return await self._engine.commit(operations, guard)
        self.expired += [operation.key for operation in operations]
        await self.expiries.wait()
        error, self.error = self.error, None
        if error is not None and not isinstance(error, OutcomeUnknown):
            raise error
        results = await self._engine.commit(operations, guard)
        await self.answers.wait()
        if error is not None:
            raise error
        return results


class Board:
    """A registry over a slow engine, swept only when the test says so."""

    def __init__(self, sqlite, mass=None):
        self.clock = Clock()
        self.engine = Slow(sqlite)
        self.registry = Registry(self.engine, node="one", clock=self.clock, mass_expiry=mass)
        self.registry._expiry.run = self._never
        self._sqlite = sqlite
        self._subscription = None
        self.guard = None

    async def start(self):
        self.guard = await self._sqlite.campaign("one")
        await self.registry.start()
        while not self.registry.keeps_leases:  # noqa: ASYNC110  # a few turns of the loop
            await asyncio.sleep(0)
        self._subscription = self.registry.subscribe(ServicesTopic(None))

    async def _never(self, _guard):
        await asyncio.get_running_loop().create_future()

    def present(self):
        return {listed.instance.id for listed in self.registry.instances("default", "web")}

    async def sweep(self):
        async with asyncio.timeout(SETTLE_S_MAX):
            await self.registry._expiry.sweep(self.guard)
            await self.registry.confirm()

    async def sweep_in(self, later_s):
        self.clock.now_s += later_s
        await self.sweep()

    @asynccontextmanager
    async def expiring(self, gate):
        """The lease of `NAME` has run out and its delete is on its way, held up at `gate`."""
        await self.registry.register(web())
        await self.next_events()
        self.clock.now_s += TTL_S + 0.5
        gate.clear()
        sweep = asyncio.create_task(self.registry._expiry.sweep(self.guard))
        while not self.engine.expired:  # noqa: ASYNC110  # the next turn of the loop or two
            await asyncio.sleep(0)
        yield
        gate.set()
        async with asyncio.timeout(SETTLE_S_MAX):
            await sweep
            await self.registry.confirm()

    async def next_events(self):
        async with asyncio.timeout(SETTLE_S_MAX):
            return await self._subscription.next()


@pytest.fixture
async def board(tmp_path):
    sqlite = await SqliteEngine.open(tmp_path / "data")
    made = Board(sqlite)
    await made.start()
    yield made
    await made.registry.close()
    await sqlite.close()


@pytest.fixture(params=["expiries", "answers", "changes"])
def gate(request, board):
    """Where the delete is held up: before the engine, after it, or on its way to the board."""
    return getattr(board.engine, request.param)


async def test_what_is_not_renewed_goes_and_watchers_are_told_why(board):
    await board.registry.register(web())
    await board.registry.register(web("web-2", ttl=0))
    await board.next_events()
    await board.sweep_in(TTL_S - 0.2)
    assert board.present() == {"web-1", "web-2"}
    await board.sweep_in(0.4)
    assert board.present() == {"web-2"}
    [event] = await board.next_events()
    assert (event.name, event.listed, event.expired) == (NAME, None, True)
    assert event.last.instance == web()
    assert board.registry.expired_total == 1
    assert board.registry.lease_count == 0


async def test_what_is_taken_off_by_its_owner_has_not_expired(board):
    await board.registry.register(web())
    await board.registry.deregister(NAME)
    put, deleted = await board.next_events()
    assert (put.expired, deleted.expired, deleted.listed) == (False, False, None)


async def test_a_pair_with_a_ttl_goes_too(board):
    await board.registry.kv_put("lock", b"me", ttl_s=TTL_S)
    await board.registry.kv_put("kept", b"me", ttl_s=TTL_S)
    await board.registry.kv_put("kept", b"me")
    await board.sweep_in(TTL_S + 0.5)
    assert board.registry.kv_keys("") == ["kept"]


async def test_a_renewal_while_the_delete_is_on_its_way_is_told_to_register_again(board, gate):
    async with board.expiring(gate):
        assert board.registry.renew([NAME]) == [0]
        assert await board.registry.heartbeat(Heartbeat(NAME)) is None
        assert await board.registry.heartbeat(Heartbeat(NAME, Status.CRITICAL)) is None
    assert board.present() == set()
    assert board.registry.renew([NAME]) == [0]


@pytest.mark.parametrize(
    "again",
    [web(), web(address="10.9.9.9"), web(ttl=0), web(ttl=60.0)],
    ids=lambda web: f"{web.address}-{web.ttl}",
)
async def test_a_registration_while_the_delete_is_on_its_way_stays(board, gate, again):
    async with board.expiring(gate):
        answer = asyncio.create_task(board.registry.register(again))
        await asyncio.sleep(0)
    registered = await answer
    assert board.registry.instance(NAME).instance == again
    assert board.registry.instance(NAME).modify_index == registered.listed.modify_index
    assert board.registry.renew([NAME]) == []
    await board.sweep_in(TTL_S - 0.5 if again.ttl == TTL_S else 30.0)
    assert board.present() == {"web-1"}
    await board.sweep_in(100.0)
    assert board.present() == ({"web-1"} if again.ttl == 0 else set())


async def test_a_batch_while_the_delete_is_on_its_way_answers_as_for_an_unknown_one(board, gate):
    async with board.expiring(gate):
        operations = [Heartbeat(NAME), Deregister(NAME), Register(web()), Heartbeat(NAME)]
        answer = asyncio.create_task(board.registry.batch(operations))
        await asyncio.sleep(0)
    unknown, deregistered, _, renewal = await answer
    assert (unknown, deregistered, renewal) == (None, False, Renewal(TTL_S, TTL_S))
    assert board.present() == {"web-1"}


async def test_a_deregistration_while_the_delete_is_on_its_way_finds_nothing(board, gate):
    async with board.expiring(gate):
        assert await board.registry.deregister(NAME) is False
    assert board.present() == set()


async def test_others_are_not_held_up(board):
    await board.registry.register(web("web-2", ttl=60.0))
    await board.next_events()
    async with board.expiring(board.engine.expiries):
        await board.registry.register(web("web-3", ttl=60.0))
        assert board.registry.renew([InstanceName("default", "web", "web-2")]) == []
    assert board.present() == {"web-2", "web-3"}


@pytest.mark.parametrize("ttl_s", [TTL_S, 0])
async def test_a_replacement_that_is_not_shown_yet_outlives_the_expiry_of_what_it_replaces(
    board, ttl_s
):
    """The decision names the revision that had run out; the new one is not it."""
    await board.registry.register(web())
    board.engine.changes.clear()
    replaced = asyncio.create_task(board.registry.register(web(port=2, ttl=ttl_s)))
    await asyncio.sleep(0)
    board.clock.now_s += TTL_S + 0.5
    await board.registry._expiry.sweep(board.guard)
    board.engine.changes.set()
    await replaced
    await board.sweep()
    assert board.registry.instance(NAME).instance.port == 2
    assert board.registry.expired_total == 0
    assert board.registry.renew([NAME]) == []
    await board.sweep_in(TTL_S + 0.5)
    assert board.present() == (set() if ttl_s else {"web-1"})


async def test_a_status_that_is_not_shown_yet_has_renewed(board):
    await board.registry.register(web())
    board.engine.changes.clear()
    beat = asyncio.create_task(board.registry.heartbeat(Heartbeat(NAME, Status.WARNING)))
    await asyncio.sleep(0)
    board.clock.now_s += TTL_S + 0.5
    await board.registry._expiry.sweep(board.guard)
    board.engine.changes.set()
    assert await beat == Renewal(TTL_S, TTL_S)
    assert board.registry.instance(NAME).instance.status == Status.WARNING


async def test_an_expiry_that_was_refused_is_tried_again_later(board):
    await board.registry.register(web())
    board.engine.error = Refused("no space")
    await board.sweep_in(TTL_S + 0.5)
    assert board.present() == {"web-1"}
    assert board.registry.expired_total == 0
    await board.sweep_in(RETRY_S / 2)
    assert len(board.engine.expired) == 1
    await board.sweep_in(RETRY_S)
    assert board.present() == set()


async def test_expiries_that_are_refused_again_and_again_are_no_mass_expiry(tmp_path):
    sqlite = await SqliteEngine.open(tmp_path / "data")
    board = Board(sqlite, MassExpiry())
    await board.start()
    await board.registry.batch(
        [Register(web(f"web-{number}", ttl=3600 if number > 2 else TTL_S)) for number in range(100)]
    )
    board.clock.now_s += TTL_S
    for _ in range(10):
        board.engine.error = Refused("no space")
        await board.sweep_in(RETRY_S + 0.1)
    assert board.registry.held_back_total == 0
    assert board.registry.instance_count == 100
    await board.sweep_in(RETRY_S + 0.1)
    assert board.registry.instance_count == 97
    await board.registry.close()
    await sqlite.close()


async def test_a_hold_has_an_end_however_often_keepers_change(tmp_path):
    """Each new keeper gives the full TTL once, and holds back for what earlier ones have left."""
    sqlite = await SqliteEngine.open(tmp_path / "data")
    board = Board(sqlite, MassExpiry(hold_s=100.0))
    await board.start()
    await board.registry.batch([Register(web(f"web-{n}", ttl=TTL_S)) for n in range(50)])
    await board.sweep_in(TTL_S + 0.1)
    assert board.registry.held_back == 50
    elections = 0
    while board.registry.instance_count:
        for _ in range(4):
            await board.sweep_in(15.0)
        board.registry._expiry.begin()
        elections += 1
        assert elections < 10
    assert elections > 1
    assert board.registry.held_back == 0
    await board.sweep_in(200.0)
    _, pages = await sqlite.load()
    assert [pair.key async for page in pages for pair in page] == [], "nor is it remembered"
    await board.registry.close()
    await sqlite.close()


async def test_a_renewal_after_a_refused_expiry_counts(board):
    await board.registry.register(web())
    board.engine.error = Refused("no space")
    await board.sweep_in(TTL_S + 0.5)
    assert board.registry.renew([NAME]) == []
    await board.sweep_in(TTL_S - 0.2)
    assert board.present() == {"web-1"}
    await board.sweep_in(0.5)
    assert board.present() == set()


async def test_a_refused_expiry_gives_no_deadline_to_what_never_expires_now(board):
    board.engine.error = Refused("no space")
    async with board.expiring(board.engine.expiries):
        await board.registry.register(web(ttl=0))
    await board.sweep_in(1000.0)
    assert board.present() == {"web-1"}
    assert board.registry.lease_count == 0


async def test_while_it_is_not_known_whether_it_expired_nobody_is_told_that_it_is_renewed(board):
    board.engine.error = OutcomeUnknown("the answer was lost")
    async with board.expiring(board.engine.changes):
        for _ in range(20):
            await asyncio.sleep(0)
        assert board.registry.renew([NAME]) == [0]
    assert board.present() == set()
    await board.sweep_in(RETRY_S + 0.5)
    assert board.registry.lease_count == 0


async def test_an_expiry_of_unknown_outcome_that_did_not_happen_is_tried_again(board):
    await board.registry.register(web())

    async def lost(operations, guard=None):
        raise OutcomeUnknown("the request was lost")

    board.clock.now_s += TTL_S + 0.5
    board.engine.commit, commit = lost, board.engine.commit
    await board.sweep()
    board.engine.commit = commit
    assert board.present() == {"web-1"}
    assert board.registry.renew([NAME]) == [0]
    await board.sweep_in(RETRY_S + 0.5)
    assert board.present() == set()


async def test_leases_outlive_a_lost_election(board):
    """More than one commit's worth: what was not reached is still due for the next keeper."""
    many = DELETES_PER_COMMIT_MAX * 2 + 500
    await board.registry.batch([Register(web(f"web-{number}")) for number in range(many)])
    await board._sqlite.resign()
    with pytest.raises(Superseded):
        await board.sweep_in(TTL_S + 0.5)
    assert board.registry.instance_count == board.registry.lease_count == many
    assert board.registry.renew([NAME]) == []
    board.guard = await board._sqlite.campaign("one")
    await board.sweep_in(RETRY_S + 0.2)
    assert board.present() == {"web-1"}
    assert board.registry.expired_total == many - 1


async def test_what_a_lost_keeper_was_about_to_delete_goes_when_it_is_elected_again(board):
    await board.registry.register(web())
    board.clock.now_s += TTL_S + 0.5
    board.engine.expiries.clear()
    sweep = asyncio.create_task(board.registry._expiry.sweep(board.guard))
    while not board.engine.expired:  # noqa: ASYNC110  # the next turn of the loop or two
        await asyncio.sleep(0)
    sweep.cancel()
    await asyncio.gather(sweep, return_exceptions=True)
    assert board.present() == {"web-1"}
    assert board.registry.lease_count == 1
    board.engine.expiries.set()
    board.registry._expiry.begin()
    await board.sweep_in(TTL_S / 2)
    assert board.present() == {"web-1"}
    await board.sweep_in(TTL_S)
    assert board.present() == set()


async def test_the_keeper_sweeps_by_itself(tmp_path):
    sqlite = await SqliteEngine.open(tmp_path / "data")
    clock = Clock()
    registry = Registry(sqlite, node="one", clock=clock)
    await registry.start()
    try:
        with registry.subscribe(ServicesTopic(None)) as subscription:
            await registry.register(web())
            await subscription.next()
            clock.now_s += TTL_S + 0.5
            async with asyncio.timeout(SETTLE_S_MAX):
                [event] = await subscription.next()
        assert event.expired
    finally:
        await registry.close()
        await sqlite.close()


async def test_a_keeper_that_was_replaced_forgets_what_it_was_taking_off(board):
    """Its deletes do nothing any more, and whoever keeps the lease now may have renewed it."""
    await board.registry.register(web(ttl=60))
    shown = board.registry._board
    for turn in (board.registry._expiry.stand_by, board.registry._expiry.begin):
        shown.expiring.add(b"i/default/web/web-1")
        assert await board.registry.heartbeat(Heartbeat(NAME)) is None
        turn()
        assert await board.registry.heartbeat(Heartbeat(NAME)) is not None
