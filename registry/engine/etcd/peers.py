"""Whether somebody listens at a peer's address."""

import asyncio
from typing import Final

CONNECT_S_MAX: Final = 1.0
"""On a network that holds an etcd together, who does not take a connection by then is away."""


async def answers(address: str) -> bool:
    """Whether `HOST:PORT` takes connections."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(CONNECT_S_MAX):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    return True
