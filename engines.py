"""Which engine a node keeps its board with: SQLite alone, a cluster of its own, or an etcd."""

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from .addresses import Address
from .config import ServeConfig
from .registry.engine import CannotStart, Engine, EngineError, SqliteEngine
from .registry.engine.etcd import (
    EtcdEngine,
    EtcdSettings,
    Membership,
    PeerFiles,
    open_clustered,
)
from .tls import PeerTls

WILDCARDS: Final = frozenset({"0.0.0.0", "::"})
HAND_OVER_S_MAX: Final = 2.0
"""Each step takes less than one; a node that stops must not wait for a cluster that is gone."""


async def open_engine(
    config: ServeConfig,
    peers: PeerTls | None,
    stack: AsyncExitStack,
    on_removed: Callable[[], None],
) -> Engine:
    """Leaves its closing on `stack`. Raises `CannotStart`."""
    if config.cluster is not None:
        return await _clustered(config, config.cluster, peers, stack, on_removed)
    if config.etcd is not None:
        engine: Engine = await _beside(config, config.etcd)
    else:
        refuse_clustered(config.data_dir)
        engine = await SqliteEngine.open(config.data_dir, node=config.name)
    stack.push_async_callback(engine.close)
    return engine


def refuse_clustered(data_dir: str) -> None:
    """A node that stands alone must not start on a member's data. Raises `CannotStart`."""
    if os.path.exists(os.path.join(data_dir, "cluster.json")):
        raise CannotStart(
            f"{data_dir} belongs to a node of a cluster: start it with the same --cluster again,"
            " or give a node that stands alone another --data-dir"
        )


def advertised_host(config: ServeConfig) -> str:
    """Where other nodes reach this one: the list says, or the address that it listens on."""
    if config.cluster is not None:
        return config.cluster[config.name].host
    if config.calls.host in WILDCARDS:
        return socket.gethostname()
    return config.calls.host


async def hand_over(engine: Engine) -> None:
    """Let others lead before this node goes, and then keep the leases: not before, since a leader
    that hands over drops what others write to be elected, and they hear of it late.
    """
    for step in (engine.transfer_leadership, engine.resign):
        try:
            async with asyncio.timeout(HAND_OVER_S_MAX):
                await step()
        except (EngineError, TimeoutError):
            pass  # alone, or without a majority: there is nobody to hand over to


async def _beside(config: ServeConfig, endpoints: tuple[str, ...]) -> Engine:
    settings = EtcdSettings(
        endpoints=endpoints,
        prefix=config.etcd_prefix,
        ca=config.etcd_ca,
        cert=config.etcd_cert,
        key=config.etcd_key,
        user=config.etcd_user.name if config.etcd_user else "",
        password=config.etcd_user.password if config.etcd_user else "",
    )
    return await EtcdEngine.open(settings, node=config.name)


async def _clustered(
    config: ServeConfig,
    cluster: dict[str, Address],
    peers: PeerTls | None,
    stack: AsyncExitStack,
    on_removed: Callable[[], None],
) -> Engine:
    members = {name: str(address) for name, address in cluster.items()}
    files = None
    if peers is not None and peers.files.ca is not None:
        files = PeerFiles(ca=peers.files.ca, cert=peers.files.cert, key=peers.files.key)
    return await open_clustered(
        Path(config.data_dir),
        Membership(config.name, members),
        str(await _listening(config.peer)),
        tls=files,
        on_removed=on_removed,
        stack=stack,
    )


async def _listening(peer: Address) -> Address:
    """etcd listens on IP addresses only. Raises `CannotStart`."""
    try:
        ipaddress.ip_address(peer.host)
    except ValueError:
        pass
    else:
        return peer
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CannotStart(
            f"--peer {peer}: {error.strerror}: name an address of this machine"
        ) from error
    return Address(str(found[0][4][0]), peer.port)
