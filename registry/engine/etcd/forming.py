"""From `--cluster` to an engine: form the cluster, join it, or come back to it."""

import asyncio
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from ..opening import lock_node, unusable
from ..seam import CannotStart
from .engine import EtcdEngine
from .member import EtcdMember
from .member_command import TRANSACTION_OPERATIONS_MAX, MemberSettings, PeerFiles, find_etcd
from .membership import ETCD_DIR, Membership, check_same, record, recorded
from .peers import answers, listed
from .settings import EtcdSettings

SAY_S: Final = 3.0
"""How often a node says for whom it waits."""
LOOK_S: Final = 0.1
STRANGERS_S: Final = 5.0
"""A list that is wrong shows as members of another cluster, while no leader is found: at once it
could be the other one's list that is wrong, and ours form the cluster without it."""
SOCKET_PATH_BYTES_MAX: Final = 100
"""The kernel takes 108, our file's name included."""

_log: Final = logging.getLogger("callboard.etcd")


async def open_clustered(
    data_dir: str | os.PathLike[str],
    given: Membership,
    listen: str,
    *,
    tls: PeerFiles | None = None,
    on_removed: Callable[[], None] = lambda: None,
    stack: AsyncExitStack,
) -> EtcdEngine:
    """Start this node's member and wait until a majority answers. Raises `CannotStart`.

    `listen` is the IP address and port of its raft. What must be closed is left on `stack`.
    """
    directory = Path(os.path.abspath(data_dir))  # noqa: ASYNC240  # touches no file
    stack.callback(os.close, await asyncio.to_thread(lock_node, directory))
    etcd = await asyncio.to_thread(find_etcd)
    settings = await _member_settings(directory, given, listen, tls)
    run_dir = await asyncio.to_thread(run_dir_for, directory, stack)
    member = EtcdMember(etcd, settings, run_dir, on_removed)
    stack.push_async_callback(member.close)
    await member.start()
    engine = await _first_answer(member, settings)
    stack.push_async_callback(engine.close)
    return engine


async def _member_settings(
    directory: Path, given: Membership, listen: str, tls: PeerFiles | None
) -> MemberSettings:
    found = recorded(directory)
    has_data = (directory / ETCD_DIR / "member").is_dir()
    running = None
    if not has_data or (found is not None and found != given):
        running = await listed(_others(given), tls)
    if found is not None and not (running and _is_current(running, found, given)):
        check_same(found, given, directory)
    members, joins = given.members, False
    if running is not None and not has_data:
        members, joins = _as_known(running, given)
    record(directory, given)
    return MemberSettings(
        name=given.name,
        members=members,
        token=given.token,
        listen=listen,
        data_dir=directory / ETCD_DIR,
        joins=joins,
        tls=tls,
    )


def _is_current(running: list[dict[str, Any]], found: Membership, given: Membership) -> bool:
    """Whether the list is that of the members now: who changes them corrects it everywhere."""
    if found.name != given.name:
        return False
    known = {str(member.get("name", "")): _address(member) for member in running}
    return known == given.members


def _others(given: Membership) -> list[str]:
    return [address for name, address in given.members.items() if name != given.name]


def _as_known(running: list[dict[str, Any]], given: Membership) -> tuple[dict[str, str], bool]:
    """The members to tell etcd of, and whether we join those that run."""
    known = {_address(member): str(member.get("name", "")) for member in running}
    ours = given.members[given.name]
    if ours not in known:
        raise CannotStart(
            f"a cluster of {', '.join(sorted(filter(None, known.values())))} is running and does"
            f" not know this node: run `callboard members add {given.name} {ours}` at one of"
            " them first; or, if it is another cluster, correct --cluster"
        )
    if known[ours]:
        # One of the first members: the others have just started, and wait for us.
        return given.members, False
    known[ours] = given.name
    return {name: address for address, name in sorted(known.items()) if name}, True


def _address(member: dict[str, Any]) -> str:
    urls = member.get("peerURLs") or [""]
    return str(urls[0]).partition("://")[2]


def run_dir_for(directory: Path, stack: AsyncExitStack) -> Path:
    """Where the member's client socket is: nobody but this user may enter."""
    run_dir = directory / "run"
    if len(os.fsencode(run_dir)) > SOCKET_PATH_BYTES_MAX:
        short = tempfile.TemporaryDirectory(prefix="callboard-")
        stack.callback(short.cleanup)
        return Path(short.name)
    try:
        run_dir.mkdir(mode=0o700, exist_ok=True)
        run_dir.chmod(0o700)
    except OSError as error:
        raise unusable(directory, error) from error
    return run_dir


async def _first_answer(member: EtcdMember, settings: MemberSettings) -> EtcdEngine:
    opening = asyncio.create_task(
        EtcdEngine.open(
            EtcdSettings(
                endpoints=(member.endpoint,),
                transaction_operations_max=TRANSACTION_OPERATIONS_MAX,
                owned=True,
                start_s_max=float("inf"),
            ),
            node=settings.name,
            ailment=lambda: member.ailment,
        )
    )
    try:
        await _wait(opening, member, settings)
        return await opening
    except BaseException:
        opening.cancel()
        await asyncio.wait([opening])
        raise


async def _wait(
    opening: "asyncio.Task[EtcdEngine]", member: EtcdMember, settings: MemberSettings
) -> None:
    loop = asyncio.get_running_loop()
    began = said = loop.time()
    while not opening.done():
        await asyncio.wait([opening], timeout=LOOK_S)
        _refuse_hopeless(member, settings, loop.time() - began)
        if loop.time() - said > SAY_S and not opening.done():
            said = loop.time()
            _log.info("waiting for a majority: %s", await _absent(settings))


def _refuse_hopeless(member: EtcdMember, settings: MemberSettings, waited_s: float) -> None:
    name = settings.name
    if member.was_here_before:
        raise CannotStart(
            f"the cluster knows node {name!r}, but its data are gone: at another node run"
            f" `callboard members remove {name}` and `callboard members add {name}"
            f" {settings.members[name]}`, then start it on an empty data directory"
        )
    if member.meets_strangers and waited_s > STRANGERS_S:
        raise CannotStart(
            "the nodes that answer belong to another cluster: --cluster must be the same list on"
            " every first node; correct it, and empty the data directory of this one"
        )


async def _absent(settings: MemberSettings) -> str:
    others = {name: at for name, at in settings.members.items() if name != settings.name}
    found = await asyncio.gather(*map(answers, others.values()))
    absent = [
        f"{name} at {at}"
        for (name, at), here in zip(others.items(), found, strict=True)
        if not here
    ]
    return f"nobody answers for {', '.join(absent)}" if absent else "they are electing a leader"
