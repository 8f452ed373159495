"""Several servers, servers that refuse, break and hang: what is repeated and what is not."""

import asyncio

import pytest
from callboard import (
    AsyncClient,
    NoServerAnswered,
    OutcomeUnknown,
    TimedOut,
    Unavailable,
    UnexpectedAnswer,
)

SERVICES = {"services": {}}
QUORUM = {"error": {"code": "no_quorum", "message": "no quorum"}}


async def test_a_call_moves_on_when_a_server_is_dead(url, dead):
    async with AsyncClient([dead, url]) as board:
        assert (await board.status()).node == "node-a"
        assert await board.kv.cas("moved/on", b"1", 0)
        async with board.register("moved", port=1):
            assert (await board.pick("moved")).port == 1
        await board.kv.delete("moved/on")


async def test_all_dead_says_which_and_why(dead):
    async with AsyncClient(f"{dead},http://127.0.0.1:2") as board:
        with pytest.raises(NoServerAnswered) as caught:
            await board.services()
        assert caught.value.failures == dict.fromkeys(board.servers, "connection refused")
        assert caught.value.__cause__ is not None


async def test_the_server_that_answers_is_asked_first_the_next_time(scripted):
    ok = scripted.reply(200, SERVICES)
    async with scripted(scripted.BREAK) as broken, scripted(ok) as good:
        async with AsyncClient([broken.url, good.url]) as board:
            for _ in range(3):
                assert await board.services() == {}
        assert len(good.asked) == 3
        assert set(broken.asked) == {"GET /v1/services?namespace=default"}
        assert len(broken.asked) <= 2  # aiohttp may repeat a GET by itself


async def test_retry_after_is_honoured_within_the_timeout(scripted):
    no = scripted.reply(503, QUORUM, Retry_After=0)
    async with scripted(no, no, scripted.reply(200, SERVICES)) as server:
        async with AsyncClient(server.url) as board:
            assert await board.services() == {}
        assert len(server.asked) == 3


async def test_a_longer_wait_than_the_timeout_is_refused_at_once(scripted):
    async with scripted(scripted.reply(503, QUORUM, Retry_After=30)) as server:
        async with AsyncClient(server.url, timeout=5) as board:
            with pytest.raises(Unavailable) as caught:
                await board.services()
        assert (caught.value.code, caught.value.retry_after_s) == ("no_quorum", 30)


async def test_a_compare_and_set_without_an_answer_is_never_sent_twice(scripted):
    ok = scripted.reply(200, True)
    async with scripted(scripted.BREAK) as broken, scripted(ok) as good:
        async with AsyncClient([broken.url, good.url]) as board:
            with pytest.raises(OutcomeUnknown):
                await board.kv.cas("k", b"v", 3)
        assert len(broken.asked) == 1
        assert good.asked == []


async def test_a_restore_is_never_sent_twice(scripted, tmp_path):
    (tmp_path / "s").write_bytes(b"x" * 100)
    async with scripted(scripted.BREAK) as broken, AsyncClient(broken.url) as board:
        with pytest.raises(OutcomeUnknown):
            await board.snapshot.restore(tmp_path / "s")
        assert len(broken.asked) == 1


async def test_a_refused_compare_and_set_is_not_repeated(scripted):
    async with scripted(scripted.reply(503, QUORUM, Retry_After=0)) as server:
        async with AsyncClient(server.url) as board:
            with pytest.raises(Unavailable):
                await board.kv.cas("k", b"v", 3)
        assert len(server.asked) == 1


async def test_a_repeatable_write_goes_to_the_next_server(scripted):
    ok = scripted.reply(200, True)
    async with scripted(scripted.BREAK) as broken, scripted(ok) as good:
        async with AsyncClient([broken.url, good.url]) as board:
            await board.kv.put("k", b"v")
        assert good.asked == ["PUT /v1/kv/k"]


async def test_a_deregistration_that_may_have_been_done_takes_404_for_done(scripted):
    missing = scripted.reply(404, {"error": {"code": "unknown_instance", "message": "no"}})
    async with scripted(scripted.HANG) as hung, scripted(missing) as good:
        async with AsyncClient([hung.url, good.url], timeout=2.1) as board:
            await board.deregister("web", "web-1")
        assert len(good.asked) == 1


async def test_a_server_that_hangs_does_not_use_up_the_time_of_the_others(scripted):
    ok = scripted.reply(200, SERVICES)
    async with (
        scripted(scripted.HANG) as hung,
        scripted(ok) as good,
        AsyncClient([hung.url, good.url], timeout=2.1) as board,
    ):
        assert await board.services() == {}


async def test_a_read_that_nobody_answers_in_time_says_so(scripted):
    async with scripted(scripted.HANG) as hung, AsyncClient(hung.url) as board:
        with pytest.raises(TimedOut, match=r"within 0\.2 s"):
            await board.services(timeout=0.2)
        with pytest.raises(OutcomeUnknown):
            await board.kv.put("k", b"v", timeout=0.2)


async def test_a_renewal_that_is_refused_does_not_end_the_registration(scripted, eventually):
    made = scripted.reply(201, {"service": "web", "id": "web-1", "ttl": 0.3})
    beat = scripted.reply(200, {"ttl": 0.3, "expires_in": 0.3})
    no = scripted.reply(503, QUORUM)
    async with (
        scripted(made, scripted.BREAK, no, beat) as server,
        AsyncClient(server.url) as board,
        board.register("web", id="web-1", ttl=0.3) as registration,
    ):

        async def renewed():
            return registration.failure is None and len(server.asked) > 5

        await eventually(renewed)
    assert server.asked[-1].startswith("DELETE")


async def test_another_program_on_the_port_is_told_of(scripted):
    async with scripted(scripted.reply(200, "hello")) as server, AsyncClient(server.url) as board:
        with pytest.raises(UnexpectedAnswer, match="not callboard's"):
            await board.services()


async def test_a_stream_that_is_not_ours_ends_the_watch(scripted):
    event = b"event: snapshot\ndata: nothing\n\n"
    junk = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(event) + event
    async with scripted(junk) as server, AsyncClient(server.url) as board:
        with pytest.raises(UnexpectedAnswer):
            await anext(board.watch("web"))


async def test_a_cancelled_call_is_cancelled(scripted, eventually):
    async with scripted(scripted.HANG) as hung, AsyncClient(hung.url) as board:
        call = asyncio.create_task(board.services())
        await eventually(hung.was_asked)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
