"""Servers for calls: one in memory, and others on sockets."""

import asyncio

import pytest
import uvloop
from callboard.registry.engine.etcd.rpc import Channel, Target

from .h2_server import Server
from .served import Peer, Served


@pytest.fixture
def server():
    return Server()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def on_loop(request, tmp_path):
    """Runs `scene(served, channel)` and sees to it that nothing is left of it."""

    def run(scene, *, unix=False, tls=None, target_tls=None):
        async def main():
            loop, served = asyncio.get_running_loop(), Served()
            if unix:
                path = str(tmp_path / "socket")
                server = await loop.create_unix_server(lambda: Peer(served), path)
                target = Target("", 0, path)
            else:
                server = await loop.create_server(lambda: Peer(served), "127.0.0.1", 0, ssl=tls)
                port = server.sockets[0].getsockname()[1]
                target = Target("127.0.0.1", port, tls=target_tls)
            one = Channel(target)
            try:
                await scene(served, one)
            finally:
                await one.close()
                await served.until(lambda: len(served.lost) == len(served.peers))
                server.close()
            assert "etcd-connect" not in {task.get_name() for task in asyncio.all_tasks()}

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return run
