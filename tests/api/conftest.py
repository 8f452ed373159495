"""The API on a real socket, over the real registry and engine; only the clock is ours."""

import asyncio
import io
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout
from callboard.api import ApiAddress, ApiConfig, ApiServer
from callboard.registry import Registry
from callboard.registry.engine import SqliteEngine
from yarl import URL

SOON_S = 20
"""Far beyond what anything takes here; only a failing test waits so long."""

_names = count(1)


class Clock:
    """Leases run by this; it moves when a test says so."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def index(self):
        return int(self.headers["X-Callboard-Index"])

    @property
    def error(self):
        """(status, code, field) of a refusal, which must be in the contract's form."""
        detail = self.json["error"]
        assert detail["message"]
        assert set(detail) <= {"code", "message", "field"}
        return self.status, detail["code"], detail.get("field")


class Board:
    """One node's API with everything below it."""

    def __init__(self, engine, registry, server, address, clock, session):
        self.engine = engine
        self.registry = registry
        self.server = server
        self.clock = clock
        self.session = session
        self.host, self.port = address.host, address.port

    async def __call__(self, method, path, body=None, *, headers=None):
        """`body` is bytes, or anything else as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        url = URL(f"http://{self.host}:{self.port}{path}", encoded=True)
        data = None if body is None else io.BytesIO(body)
        async with self.session.request(method, url, data=data, headers=headers) as got:
            return Answer(got.status, dict(got.headers), await got.read())

    @asynccontextmanager
    async def raw(self, *data):
        """A plain connection; `data` is sent at once."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(b"".join(data))
            yield reader, writer
        finally:
            writer.close()

    @property
    def limits(self):
        """The listener, which holds the limits of its connections."""
        return self.server._connections

    async def exchange(self, *data):
        """Everything that is answered to `data`, until the server closes."""
        async with self.raw(*data) as (reader, _), asyncio.timeout(SOON_S):
            return await reader.read()


@asynccontextmanager
async def running(data_dir):
    async with AsyncExitStack() as stack:
        engine = await SqliteEngine.open(data_dir, node="node-a")
        stack.push_async_callback(engine.close)
        clock = Clock()
        registry = Registry(engine, node="node-a", clock=clock)
        stack.push_async_callback(registry.close)
        await registry.start()
        address = ApiAddress(ApiConfig("127.0.0.1", 0))
        server = ApiServer(registry, address)
        stack.push_async_callback(server.close)
        await server.start()
        session = ClientSession(timeout=ClientTimeout(SOON_S), skip_auto_headers=["Content-Type"])
        await stack.enter_async_context(session)
        yield Board(engine, registry, server, address, clock, session)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def board(tmp_path_factory):
    """One board for all tests, which take names of their own; its clock stands still."""
    async with running(tmp_path_factory.mktemp("board") / "data") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def own_board(tmp_path):
    """A board for one test: its clock, engine and limits may be tampered with."""
    async with running(tmp_path / "data") as made:
        yield made


@pytest.fixture(scope="module")
def loop_and_board(tmp_path_factory):
    """Hypothesis calls plain functions: they run on a loop of their own."""
    with asyncio.Runner() as runner:
        context = running(tmp_path_factory.mktemp("board") / "data")
        board = runner.run(context.__aenter__())
        yield runner, board
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def service():
    """The name of a service that no other test has."""
    return f"service-{next(_names)}"


async def until(condition):
    """Let others run until `condition()` holds; what it was."""
    async with asyncio.timeout(SOON_S):
        while not (found := condition()):  # noqa: ASYNC110  # nobody sets an event for it
            await asyncio.sleep(0.005)
    return found
