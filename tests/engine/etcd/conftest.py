"""Etcds that a test may stop, kill, fill and lock, and engines on them."""

import asyncio
import signal
from contextlib import suppress

import pytest
from callboard.registry.engine.etcd import EtcdEngine, EtcdSettings

SOON_S = 20.0


@pytest.fixture
def start_etcd(etcd_member, tmp_path):
    """`start_etcd(*flags, members=1)`: a cluster of its own, ready; gone after the test."""
    started = []

    def start(*flags, members=1):
        cluster = [etcd_member(tmp_path / "etcd", f"m{n}", *flags) for n in range(members)]
        started.extend(cluster)
        for member in cluster:
            member.initial = ",".join(f"{one.name}={one.peer_url}" for one in cluster)
            member.start()
        for member in cluster:
            member.wait_ready()
        return cluster if members > 1 else cluster[0]

    yield start
    for member in started:
        member.stop()


@pytest.fixture
async def open_board():
    """`await open_board(member, ..., prefix=)`; whatever is left open is closed."""
    opened = []

    async def open_one(*members, prefix="board/", node="one", ailment=str, **settings):
        engine = await EtcdEngine.open(
            EtcdSettings(endpoints=tuple(one.url for one in members), prefix=prefix, **settings),
            node=node,
            ailment=ailment,
        )
        opened.append(engine)
        return engine

    yield open_one
    for engine in opened:
        await engine.close()


@pytest.fixture
def until():
    """`await until(condition)`: soon, or the test fails."""

    async def wait(condition, limit_s=SOON_S):
        async with asyncio.timeout(limit_s):
            while not condition():  # noqa: ASYNC110  # it is of another process
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def stopped():
    """`stopped(member)`: SIGSTOP now, SIGCONT when the test is over or `resume()` is called."""
    resumes = []

    def stop(member):
        process = member.process
        process.send_signal(signal.SIGSTOP)

        def resume():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)

        resumes.append(resume)
        return resume

    yield stop
    for resume in resumes:
        resume()
