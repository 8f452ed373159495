"""The API of a node that starts: it is alive, not ready, and says what it waits for.

A node of a cluster waits for its majority as long as that takes. Who asks meanwhile, be it a
supervisor's probe or a client with other nodes to choose from, gets an answer instead of a guess.
"""

import asyncio
from typing import Final

from aiohttp import web

from ..listening import TlsListener
from .connections import BoundedServer
from .errors import body_of, retry_later
from .listener import ApiAddress
from .responses import Response, encode
from .status import HealthAnswer

HEALTH_PATH: Final = "/healthz"
GOODBYE_S: Final = 1.0
"""For the answers under way when the node is ready: they are small."""


class _NothingYet:
    """What there is to be shown before the board is there."""

    index: Final = 0

    def staleness_ms(self) -> float:
        return 0.0


_NOTHING_YET: Final = _NothingYet()


class Starting:
    """Create, `await start()`, `await close()` before another listens at `address`."""

    def __init__(self, address: ApiAddress) -> None:
        self.waits_for = "its parts"
        """For people, to follow "it waits for"."""
        self._address = address
        self._connections = BoundedServer(self._handle, _NOTHING_YET)
        self._listener: asyncio.Server | TlsListener | None = None

    async def start(self) -> None:
        self._listener = await self._address.listen(self._connections)

    async def close(self) -> None:
        """Safe to do twice."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        self._connections.pre_shutdown()
        await self._connections.shutdown(GOODBYE_S)

    async def _handle(self, request: web.BaseRequest) -> Response:
        """Every answer ends its connection: the next is for the node that serves."""
        if request.raw_path.partition("?")[0] == HEALTH_PATH:
            return Response(_NOTHING_YET, encode(HealthAnswer("alive")), close=True)
        text = f"this node is starting: it waits for {self.waits_for}; ask another"
        error = retry_later("no_quorum", text)
        body = encode(body_of(error))
        return Response(_NOTHING_YET, body, error.status, extra=error.headers, close=True)
