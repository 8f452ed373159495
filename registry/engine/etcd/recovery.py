"""A lost majority: the data of one stopped node become a cluster of that node alone.

What the others had agreed on without it is gone. So nobody does this by chance: the node must be
stopped, its directory is locked meanwhile, and the others come back as new members.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

from ..opening import lock_node
from ..seam import CannotStart
from .engine import EtcdEngine
from .forming import run_dir_for
from .member import EtcdMember
from .member_command import MemberSettings, find_etcd
from .membership import ETCD_DIR, Membership, record, recorded
from .settings import EtcdSettings

LOOPBACK_ANY_PORT = "127.0.0.1:0"
START_S_MAX = 60.0
"""To read a large board and elect itself."""


async def recover(data_dir: str | os.PathLike[str]) -> tuple[Membership, int]:
    """What the node is now, and the revision that its board holds. Raises `CannotStart`."""
    directory = Path(os.path.abspath(data_dir))  # noqa: ASYNC240  # touches no file
    async with AsyncExitStack() as stack:
        stack.callback(os.close, await asyncio.to_thread(lock_node, directory))
        found = recorded(directory)
        if found is None or not (directory / ETCD_DIR / "member").is_dir():
            raise CannotStart(
                f"{directory} is no data directory of a node of a cluster: there is nothing to"
                " recover; name the --data-dir of the stopped node with the newest data"
            )
        alone = Membership(found.name, {found.name: found.members[found.name]})
        revision = await _force(directory, found, stack)
        record(directory, alone)
    return alone, revision


async def _force(directory: Path, found: Membership, stack: AsyncExitStack) -> int:
    """Run etcd once, told to forget the other members; the board's revision there."""
    settings = MemberSettings(
        name=found.name,
        members=found.members,
        token=found.token,
        listen=LOOPBACK_ANY_PORT,
        data_dir=directory / ETCD_DIR,
        joins=False,
        forced=True,
    )
    run_dir = await asyncio.to_thread(run_dir_for, directory, stack)
    member = EtcdMember(await asyncio.to_thread(find_etcd), settings, run_dir)
    stack.push_async_callback(member.close)
    await member.start()
    engine = await EtcdEngine.open(
        EtcdSettings(endpoints=(member.endpoint,), owned=True, start_s_max=START_S_MAX),
        node=found.name,
        ailment=lambda: member.ailment,
    )
    revision = engine.status().revision
    await engine.close()
    return revision
