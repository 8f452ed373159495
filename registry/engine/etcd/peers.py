"""What can be learnt of members from outside: whether somebody listens, and whom they know."""

import asyncio
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any, Final

from .member_command import PeerFiles

CONNECT_S_MAX: Final = 1.0
"""On a network that holds an etcd together, who does not take a connection by then is away."""
LIST_BYTES_MAX: Final = 1024 * 1024


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


async def listed(addresses: Iterable[str], tls: PeerFiles | None) -> list[dict[str, Any]] | None:
    """The members of a running cluster, as the first of `addresses` that answers knows them.

    It is what etcd itself asks before it joins. None: nobody answers.
    """
    found = await asyncio.gather(
        *(asyncio.to_thread(_listed, address, tls) for address in addresses)
    )
    return next((members for members in found if members is not None), None)


def _listed(address: str, tls: PeerFiles | None) -> list[dict[str, Any]] | None:
    scheme = "https" if tls else "http"
    context = None
    if tls:
        context = ssl.create_default_context(cafile=tls.ca)
        context.load_cert_chain(tls.cert, tls.key)
    url = f"{scheme}://{address}/members"
    # Peers are reached as the list says, whatever proxy the user's environment names.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=CONNECT_S_MAX) as answer:
            members = json.loads(answer.read(LIST_BYTES_MAX))
    except (OSError, ValueError, http.client.HTTPException):  # nobody there, or no etcd
        return None
    if not isinstance(members, list):
        return None
    return [member for member in members if isinstance(member, dict)]
