"""Real nodes, and a server that misbehaves as told."""

import asyncio
import json
import re
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import pytest

SOON_S = 20
"""Far beyond what anything takes here; only a failing test waits so long."""


class Node:
    """`python -m callboard serve`; `start` it again on the port that it had."""

    def __init__(self, data_dir):
        self.data_dir = data_dir
        self.port = 0
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "callboard", "serve", "--name", "node-a"),
                *("--data-dir", str(self.data_dir), "--dns", "127.0.0.1:0"),
                *("--http", f"127.0.0.1:{self.port}"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in self.process.stdout:
            if found := re.match(r"http\s+http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                return self
        raise AssertionError(f"the node ended: {self.process.stderr.read()}")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def make_node(tmp_path):
    made = []

    def make(name="data"):
        made.append(Node(tmp_path / name))
        return made[-1].start()

    yield make
    for node in made:
        node.kill()


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    """A node that all tests share: each takes names of its own."""
    node = Node(tmp_path_factory.mktemp("node") / "data").start()
    yield node.url
    node.kill()


@pytest.fixture
def dead():
    """A server that nobody runs: port 1 is reserved."""
    return "http://127.0.0.1:1"


@pytest.fixture
def eventually():
    """Ask again until the answer is true."""

    async def wait(condition):
        async with asyncio.timeout(SOON_S):
            while not (found := await condition()):  # noqa: ASYNC110  # the state is a server's
                await asyncio.sleep(0.01)
        return found

    return wait


@pytest.fixture
def eventually_sync():
    def wait(condition):
        deadline = time.monotonic() + SOON_S
        while not (found := condition()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return found

    return wait


BREAK, HANG = object(), object()


class Scripted:
    """Gives the scripted answers in turn, the last again and again; keeps what was asked."""

    def __init__(self, *script):
        self.script = list(script)
        self.asked = []
        self.writers = set()
        self.url = ""

    async def was_asked(self):
        return bool(self.asked)

    def _next(self):
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                size = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                await reader.readexactly(int(size[1]) if size else 0)
                self.asked.append(" ".join(head.split()[:2]))
                answer = self._next()
                if answer is BREAK:
                    return
                if answer is HANG:
                    await reader.read()
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.writers.discard(writer)
            writer.close()

    async def close(self, server):
        """Hang up on whoever is still connected, and let the handlers end."""
        server.close()
        while self.writers:
            for writer in self.writers:
                writer.close()
            await asyncio.sleep(0)


def reply(status, body=None, **headers):
    data = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


@pytest.fixture
def scripted():
    @asynccontextmanager
    async def run(*script):
        fake = Scripted(*script)
        server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
        fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield fake
        finally:
            await fake.close(server)

    run.BREAK, run.HANG, run.reply = BREAK, HANG, reply
    return run
