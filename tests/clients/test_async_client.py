"""`AsyncClient` against real nodes."""

import asyncio
import gc
import warnings

import pytest
from callboard import (
    AsyncClient,
    AsyncRegistration,
    Conflict,
    Instance,
    InvalidArgument,
    NoServerAnswered,
    NotFound,
    Unavailable,
)
from callboard.clients import requests
from callboard.clients.calling import CONNECTIONS_MAX


async def test_a_registration_is_there_inside_the_with_and_gone_behind_it(url):
    async with AsyncClient(url) as board:
        async with board.register(
            "life", port=8080, tags=["v2"], meta={"zone": "a"}, ports={"metrics": 9100}
        ) as registration:
            [instance] = await board.instances("life")
            assert instance.id == registration.id == registration.instance.id
            assert (instance.address, instance.port, instance.ttl) == ("127.0.0.1", 8080, 15)
            assert instance.ports["metrics"].port == 9100
            assert (await board.services())["life"].passing == 1
        assert not await board.instances("life")


async def test_a_registration_may_be_awaited_and_ends_with_its_client(url):
    async with AsyncClient(url) as board:
        registration = await board.register("awaited", id="a-1", port=1, namespace="other")
        assert registration.instance.namespace == "other"
    async with AsyncClient(url) as board:
        assert not await board.instances("awaited", namespace="other")


async def test_it_is_renewed_in_the_background(url, eventually):
    async with AsyncClient(url) as board, board.register("renewed", port=1, ttl=1):
        lowest = 2.0

        async def renewed():
            nonlocal lowest
            [instance] = await board.instances("renewed")
            lowest = min(lowest, instance.expires_in)
            return instance.expires_in > lowest + 0.1

        await eventually(renewed)


async def test_its_check_decides_whether_it_is_handed_out(url, eventually):
    well = False

    async def check():
        return ("passing", "") if well else ("critical", "no database")

    async with (
        AsyncClient(url) as board,
        board.register("checked", port=1, check=check, interval="50ms"),
    ):
        [instance] = await board.instances("checked", passing=False)
        assert (instance.status, instance.output) == ("critical", "no database")
        well = True
        await eventually(lambda: board.instances("checked"))
        well = False

        async def gone():
            return not await board.instances("checked")

        await eventually(gone)


async def test_a_status_may_be_set_by_hand(url):
    async with AsyncClient(url) as board, board.register("by-hand", port=1) as registration:
        await registration.set_status("maintenance", "new disk")
        assert not await board.instances("by-hand")
        [instance] = await board.instances("by-hand", passing=False)
        assert instance.output == "new disk"


async def test_what_somebody_else_deregistered_is_registered_again(url, eventually):
    async with (
        AsyncClient(url) as board,
        board.register("again", id="again-1", port=1, ttl=0.6),
    ):
        await board.deregister("again", "again-1")
        await eventually(lambda: board.instances("again"))


async def test_a_server_that_lost_everything_gets_the_registration_back(
    make_node, tmp_path, eventually
):
    node = make_node()
    async with (
        AsyncClient(node.url) as board,
        board.register("phoenix", port=1, ttl=1) as registration,
    ):
        node.kill()
        await eventually(_true_when(lambda: registration.failure is not None))
        node.data_dir = tmp_path / "empty"
        node.start()
        await eventually(lambda: _there(board, "phoenix"))
        await eventually(_true_when(lambda: registration.failure is None))


async def test_closing_does_not_wait_for_a_server_that_is_gone(make_node, caplog):
    node = make_node()
    async with AsyncClient(node.url) as board:
        await board.register("orphan", port=1)
        node.kill()
    assert "could not be deregistered" in caplog.text


async def test_a_client_keeps_nothing_of_registrations_that_failed(dead):
    async with AsyncClient(dead) as board:
        for _ in range(3):
            with pytest.raises(NoServerAnswered):
                await board.register("web", port=1, check=lambda: True)
        assert not board._registrations


async def test_a_registration_that_is_given_up_leaves_no_check_behind(url):
    checking = asyncio.Event()

    async def check():
        checking.set()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    async with AsyncClient(url) as board:
        registering = asyncio.create_task(board.register("web", port=1, check=check).start())
        await checking.wait()
        registering.cancel()
        await asyncio.wait([registering])
        assert registering.cancelled()
        assert asyncio.all_tasks() == before


async def test_wrong_arguments_are_refused_before_anything_is_sent(dead):
    async with AsyncClient(dead) as board:
        for wrong in ({"ttl": "soon"}, {"interval": "-1"}, {"tags": "v2"}):
            with pytest.raises(InvalidArgument):
                board.register("web", **wrong)
        with pytest.raises(TypeError):
            board.register("web", prot=80)


async def test_the_server_names_the_wrong_field(url):
    async with AsyncClient(url) as board:
        with pytest.raises(InvalidArgument) as caught:
            await board.put_instance("web", "web-1", address="no such address")
        assert (caught.value.field, caught.value.status) == ("address", 400)
        with pytest.raises(NotFound) as caught:
            await board.deregister("nobody", "nobody-1")
        assert caught.value.code == "unknown_instance"


async def test_instances_are_filtered_by_the_server(url):
    async with AsyncClient(url) as board:
        for n, status in enumerate(["passing", "critical", "warning"]):
            await board.put_instance(
                "filter", f"f-{n}", port=1, tags=[f"t{n}"], meta={"n": str(n)}, status=status
            )
        assert [i.id for i in await board.instances("filter")] == ["f-0", "f-2"]
        assert len(await board.instances("filter", passing=False)) == 3
        assert [i.id for i in await board.instances("filter", tag="t2")] == ["f-2"]
        found = await board.instances("filter", meta={"n": "0"}, consistency="strong")
        assert [i.id for i in found] == ["f-0"]
        assert found.age_s == 0
        assert found.at_index > 0
        renewal = await board.heartbeat("filter", "f-1", status="passing")
        assert renewal.ttl == 30


async def test_kv(url):
    async with AsyncClient(url) as board:
        kv = board.kv
        assert await kv.get("a/ü b?#/%2F") is None
        await kv.put("a/ü b?#/%2F", "grün", flags=7)
        pair = await kv.get("a/ü b?#/%2F")
        assert (pair.value.decode(), pair.flags) == ("grün", 7)
        assert await kv.cas("a/new", b"\x00\xff", 0)
        assert not await kv.cas("a/new", b"", 0)
        assert await kv.cas("a/new", b"", (await kv.get("a/new")).index)
        assert [pair.key for pair in await kv.list("a/")] == ["a/new", "a/ü b?#/%2F"]
        assert await kv.keys("a", separator="/") == ["a/"]
        assert not await kv.delete("a/new", cas=1)
        assert await kv.delete("a/", recurse=True)
        assert await kv.list("a/") == []
        await kv.put("brief", "x", ttl="10m")
        assert await kv.delete("brief")


async def test_snapshots_are_saved_whole_and_restored(make_node, tmp_path):
    node = make_node()
    async with AsyncClient(node.url) as board:
        await board.kv.put("kept", "1")
        file = tmp_path / "board.snapshot"
        assert await board.snapshot.save(file) == file.stat().st_size > 0
        with pytest.raises(Conflict):
            await board.snapshot.save(file)
        await board.snapshot.save(file, force=True)
        await board.kv.put("lost", "2")
        assert await board.snapshot.restore(file) > 0
        assert await board.kv.keys() == ["kept"]
        file.write_bytes(b"junk")
        with pytest.raises(InvalidArgument):
            await board.snapshot.restore(file)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["board.snapshot"]


async def test_a_snapshot_that_breaks_off_leaves_no_file(scripted, tmp_path):
    broken = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort"
    async with scripted(broken, scripted.BREAK) as server, AsyncClient(server.url) as board:
        saving = asyncio.create_task(board.snapshot.save(tmp_path / "s", timeout=0.5))
        with pytest.raises(Unavailable, match="broke off after 5 bytes"):
            await saving
    assert list(tmp_path.iterdir()) == []


async def test_status_and_members(url):
    async with AsyncClient(url) as board:
        status = await board.status()
        assert (status.node, status.keeper) == ("node-a", "node-a")
        [member] = await board.members()
        assert (member.name, member.healthy) == ("node-a", True)


async def test_a_watch_tells_what_is_there_and_what_changes(url):
    async with AsyncClient(url) as board:
        await board.put_instance("seen", "seen-1", port=1)
        events = board.watch("seen")
        first = await anext(events)
        assert (first.kind, [i.id for i in first.instances], first.resync) == (
            "snapshot", ["seen-1"], False,
        )  # fmt: skip
        await board.put_instance("seen", "seen-2", port=2, ttl=0.5)
        await board.deregister("seen", "seen-1")
        told = [await anext(events) for _ in range(3)]
        assert [(event.kind, event.instance.id) for event in told] == [
            ("put", "seen-2"),
            ("delete", "seen-1"),
            ("delete", "seen-2"),
        ]
        assert [event.reason for event in told[1:]] == ["deregistered", "expired"]
        assert first.index < told[0].index < told[1].index < told[2].index
        await events.close()


async def test_a_watch_goes_on_where_it_was_when_the_server_comes_back(make_node):
    """The events from before are not told again, and none is lost."""
    node = make_node()
    async with AsyncClient(node.url) as board:
        events = board.watch("back", timeout=5)
        assert (await anext(events)).kind == "snapshot"
        await board.put_instance("back", "back-1", port=1, ttl=0)
        assert (await anext(events)).instance.id == "back-1"
        node.kill()
        node.start()
        await board.put_instance("back", "back-2", port=1, ttl=0)
        event = await anext(events)
        if event.kind == "snapshot":  # a restarted server keeps no history to resume from
            assert event.resync
            found = {i.id for i in event.instances}
            if "back-2" not in found:
                assert (await anext(events)).instance.id == "back-2"
        else:
            assert event.instance.id == "back-2"


async def test_a_watch_of_all_services_and_of_all_namespaces(url):
    async with AsyncClient(url) as board:
        everything = board.watch(namespace="*")
        await anext(everything)
        await board.put_instance("far", "far-1", port=1, namespace="far-away")
        while (event := await anext(everything)).instance.service != "far":
            pass
        assert event.instance.namespace == "far-away"


async def test_a_watch_ends_with_its_client(url):
    board = AsyncClient(url)
    events = board.watch("ending")
    await anext(events)
    waiting = asyncio.create_task(_collect(events))
    await asyncio.sleep(0)
    await board.close()
    assert await asyncio.wait_for(waiting, 20) == []


async def test_pick_takes_turns_and_follows_changes_without_asking(url, eventually):
    async with AsyncClient(url) as board:
        for n in (1, 2):
            await board.put_instance("db", f"db-{n}", address=f"10.0.0.{n}", port=5432)
        peers = [await board.pick("db") for _ in range(4)]
        assert [peer.address for peer in peers] == ["10.0.0.1", "10.0.0.2"] * 2
        assert {peer.port for peer in peers} == {5432}
        await board.heartbeat("db", "db-1", status="critical")

        async def moved():
            return {(await board.pick("db")).id for _ in range(3)} == {"db-2"}

        await eventually(moved)
        await board.deregister("db", "db-2")

        async def nobody():
            try:
                await board.pick("db")
            except NotFound:
                return True

        await eventually(nobody)


async def test_least_used_spreads_what_is_not_given_back(url):
    async with AsyncClient(url) as board:
        for n in (1, 2):
            await board.put_instance("pool", f"pool-{n}", port=n)
        first = await board.pick("pool", policy="least-used")
        second = await board.pick("pool", policy="least-used")
        assert first.id != second.id
        with await board.pick("pool", policy="least-used"):
            first.release()
            freed = await board.pick("pool", policy="least-used")
            assert freed.id in (first.id, second.id)


async def test_pick_and_instances_go_on_when_no_server_answers(make_node, eventually):
    node = make_node()
    async with AsyncClient(node.url, timeout=2) as board:
        await board.put_instance("db", "db-1", address="10.0.0.1", port=5432)
        await board.put_instance("plain", "plain-1", port=1)
        assert (await board.pick("db")).age_s == 0
        await board.instances("plain")
        node.kill()

        async def aged():
            return (await board.pick("db")).age_s > 0

        await eventually(aged)
        for service, expected in (("db", "db-1"), ("plain", "plain-1")):
            kept = await board.instances(service)
            assert [instance.id for instance in kept] == [expected]
            assert kept.age_s > 0
        with pytest.raises(NoServerAnswered):
            await board.instances("db", consistency="strong")
        with pytest.raises(NoServerAnswered):
            await board.instances("never-asked")
        node.start()

        async def fresh():
            return (await board.pick("db")).age_s == 0

        await eventually(fresh)


async def test_pick_without_any_copy_says_that_no_server_answers(dead):
    async with AsyncClient(dead) as board:
        for _ in range(2):
            with pytest.raises(NoServerAnswered, match="connection refused"):
                await board.pick("db")


async def test_however_many_watches_leave_room_for_calls(url):
    async with AsyncClient(url) as board:
        watches = [board.watch(f"many-{n}") for n in range(CONNECTIONS_MAX + 1)]
        await asyncio.gather(*map(anext, watches))
        assert (await board.status()).node == "node-a"


async def test_closing_leaves_nothing_behind_and_may_be_repeated(url):
    before = asyncio.all_tasks()
    board = AsyncClient(url)
    await board.register("tidy", port=1, check=lambda: True)
    await board.pick("tidy")
    await anext(board.watch("tidy"))
    await board.close()
    await board.close()
    gc.collect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    with pytest.raises(RuntimeError, match="closed"):
        await board.services()
    with pytest.raises(RuntimeError, match="closed"):
        board.register("tidy")


async def test_a_forgotten_client_is_told_of(url):
    board = AsyncClient(url)
    await board.services()
    caller = board._caller()
    board = None
    with pytest.warns(ResourceWarning, match="never closed"):
        gc.collect()
    await caller.close()


async def test_an_unused_client_needs_no_closing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AsyncClient("http://127.0.0.1:1")
        gc.collect()


def _true_when(condition):
    async def ask():
        return condition()

    return ask


async def _there(board, service):
    found = await board.instances(service)
    return found.age_s == 0 and len(found) > 0


async def _collect(events):
    return [event async for event in events]


async def test_a_registration_that_is_closed_on_its_way_is_taken_back():
    class Caller:
        closed = False

        def __init__(self):
            self.asked, self.answers = [], asyncio.Event()

        async def call(self, request, timeout_s):
            self.asked.append(request.method)
            await self.answers.wait()
            return Instance(service="web", id="w", ttl=15)

    caller, before = Caller(), asyncio.all_tasks()
    registration = AsyncRegistration(
        caller,
        lambda health: requests.put_instance("web", "w"),
        service="web",
        instance_id="w",
        namespace="default",
        check=None,
        check_interval_s=5.0,
        timeout_s=5.0,
        began=lambda _: None,
        ended=lambda _: None,
    )
    starting = asyncio.create_task(registration.start())
    await asyncio.sleep(0)
    await registration.close()
    caller.answers.set()
    with pytest.raises(RuntimeError, match="has ended"):
        await starting
    assert caller.asked == ["PUT", "DELETE"]
    assert asyncio.all_tasks() == before


async def test_who_waits_for_a_choice_is_told_that_the_client_was_closed():
    asked = asyncio.Event()

    async def hang(reader, writer):
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        board = AsyncClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        picking = asyncio.create_task(board.pick("db"))
        await asked.wait()
        await board.close()
        with pytest.raises(RuntimeError, match="closed"):
            await picking
