"""`Client`, the one without `await`, against real nodes; and what the package exports."""

import asyncio
import gc
import inspect
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import callboard
import pytest
from callboard import AsyncClient, Client, NoServerAnswered, NotFound, clients
from callboard.clients.kv import AsyncKv
from callboard.clients.loop_thread import LoopStopped, LoopThread
from callboard.clients.snapshots import AsyncSnapshots
from callboard.clients.sync import Kv, Snapshots


def test_the_example_of_the_contract(url):
    ready = threading.Event()
    ready.set()
    with Client(url) as board:
        board.put_instance("contract-db", "db-1", address="10.0.0.9", port=5432)
        with board.register(
            "contract-web", port=8080, ttl=15, tags=["v2"], check=ready.is_set
        ) as registration:
            peer = board.pick("contract-db")
            assert (peer.address, peer.port) == ("10.0.0.9", 5432)
            for event in board.watch("contract-db"):
                assert event.instances[0].id == "db-1"
                break
            [instance] = board.instances("contract-web", tag="v2")
            assert instance.id == registration.id == registration.instance.id
        assert not board.instances("contract-web")


def test_every_method_is_that_of_the_asynchronous_client():
    for ours, theirs in ((Client, AsyncClient), (Kv, AsyncKv), (Snapshots, AsyncSnapshots)):
        assert _methods(ours) == _methods(theirs)


def _methods(kind):
    return {
        name: {
            parameter.name: (parameter.kind, parameter.default)
            for parameter in inspect.signature(function).parameters.values()
        }
        for name, function in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and name != "pick_now"
    }


def test_kv_snapshot_status_and_members(url, tmp_path):
    with Client(url) as board:
        board.kv.put("sync/a", b"1", flags=2)
        assert board.kv.get("sync/a").flags == 2
        assert board.kv.cas("sync/b", "2", 0)
        assert board.kv.keys("sync/") == ["sync/a", "sync/b"]
        assert [pair.value for pair in board.kv.list("sync/")] == [b"1", b"2"]
        assert board.kv.delete("sync/", recurse=True)
        assert board.snapshot.save(tmp_path / "s") > 0
        assert board.status().node == board.members()[0].name == "node-a"
        assert "contract" not in board.services(namespace="nobody")


def test_a_check_that_blocks_does_not_keep_it_from_renewing(url, eventually_sync):
    """The check stands still in its thread; the lease of half a second goes on."""
    checks, free = [], threading.Event()

    def check():
        checks.append(1)
        if len(checks) > 1:
            free.wait(30)
        return True

    with (
        Client(url) as board,
        board.register("busy", port=1, ttl=0.5, check=check, interval=0.05) as registration,
    ):
        eventually_sync(lambda: len(checks) > 1)
        indices = [board.instances("busy")[0].create_index]
        for _ in range(5):
            eventually_sync(lambda: registration.renewed_ago_s < 0.05)
            eventually_sync(lambda: registration.renewed_ago_s > 0.1)
        indices.append(board.instances("busy")[0].create_index)
        free.set()
    assert indices[0] == indices[1]


def test_a_status_may_be_set_and_a_registration_closed_twice(url):
    with Client(url) as board:
        registration = board.register("twice", id="t-1", port=1)
        registration.set_status("maintenance")
        assert not board.instances("twice")
        with pytest.raises(NotFound):
            board.pick("twice")
        registration.close()
        registration.close()
    registration.close()


def test_many_threads_may_pick_and_give_back(url):
    with Client(url) as board:
        for n in range(4):
            board.put_instance("crowd", f"c-{n}", port=n + 1)
        board.pick("crowd")

        def work(_):
            with board.pick("crowd", policy="least-used") as peer:
                return peer.id

        with ThreadPoolExecutor(8) as pool:
            chosen = list(pool.map(work, range(400)))
        assert set(chosen) == {"c-0", "c-1", "c-2", "c-3"}
        held = [board.pick("crowd", policy="least-used") for _ in range(4)]
        assert len({peer.id for peer in held}) == 4  # all was given back


def test_a_watch_in_another_thread_ends_with_the_client(url):
    board, seen = Client(url), threading.Event()

    def follow():
        for _ in board.watch("ends"):
            seen.set()

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow)
        assert seen.wait(20)
        board.close()
        assert following.exception(20) is None


def test_closing_leaves_no_thread_and_may_be_repeated(url):
    before = set(threading.enumerate())
    board = Client(url)
    board.register("tidy-sync", port=1, check=lambda: True, interval=0.05)
    board.pick("tidy-sync")
    next(board.watch("tidy-sync"))
    board.close()
    board.close()
    assert {thread for thread in threading.enumerate() if thread.is_alive()} <= before
    with pytest.raises(RuntimeError, match="closed"):
        board.services()


def test_a_forgotten_client_is_told_of_and_ends(url, eventually_sync):
    before = set(threading.enumerate())
    board = Client(url)
    board.services()
    with pytest.warns(ResourceWarning, match="never closed"):
        board = None
    gc.collect()
    eventually_sync(lambda: set(threading.enumerate()) <= before)


def test_no_server_is_an_error_with_the_cause(dead):
    with Client(dead) as board, pytest.raises(NoServerAnswered) as caught:
        board.services()
    assert isinstance(caught.value.__cause__.os_error, ConnectionRefusedError)


def test_a_client_belongs_to_one_process(dead):
    with Client(dead) as board:
        child = os.fork()
        if child == 0:
            try:
                board.services()
            except RuntimeError as error:
                os._exit(42 if "fork" in str(error) else 1)
            os._exit(2)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 42


def test_interrupting_a_call_leaves_the_client_usable(url):
    """Ctrl-C during a call, for real: a signal to a process of its own."""
    program = """
import os, signal, threading
from callboard import Client
with Client({url!r}) as board:
    events = board.watch("quiet")
    next(events)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        next(events)
    except KeyboardInterrupt:
        print(board.status().node)
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace("{url!r}", repr(url))],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ran.stdout, ran.stderr) == ("node-a\n", "")


def test_the_package_exports_the_client_and_nothing_else():
    assert set(callboard.__all__) == {*clients.__all__, "__version__"}
    for name in callboard.__all__:
        assert getattr(callboard, name) is not None
    assert set(callboard.__all__) <= set(dir(callboard))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = callboard.no_such_name


def test_importing_the_package_does_not_load_the_http_client():
    """A DNS worker is this package too, and starts often."""
    program = "import sys, callboard; print({'aiohttp', 'rich', 'click'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "set()\n"


def test_no_call_is_left_waiting_by_a_stop_that_comes_in_between():
    """Calls and the stop race, over and over: each call ends, one way or the other."""

    async def nothing():
        return True

    for _ in range(50):
        thread, go = LoopThread(), threading.Barrier(5)

        def call(thread=thread, go=go):
            go.wait()
            while not thread.stopped:
                with suppress(LoopStopped):
                    thread.run(nothing())

        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(call) for _ in range(4)]
            go.wait()
            thread.stop()
            assert [done.result(20) for done in calls] == [None] * 4


def test_a_loop_ends_though_its_last_coroutine_was_done_at_once(monkeypatch, eventually_sync):
    submit = asyncio.run_coroutine_threadsafe

    def submit_and_wait(coroutine, loop):
        future = submit(coroutine, loop)
        future.result()
        return future

    async def farewell():
        pass

    before = set(threading.enumerate())
    thread = LoopThread()
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", submit_and_wait)
    thread.run_last(farewell())
    eventually_sync(lambda: set(threading.enumerate()) <= before)
