"""Which cluster a data directory belongs to: recorded at every start, compared at the next.

A node that were started with another list, another name or somebody else's data would split the
cluster or vote twice.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

import msgspec

from ..layout import DATABASE_FILE
from ..opening import unusable
from ..seam import CannotStart

RECORD_FILE: Final = "cluster.json"
ETCD_DIR: Final = "etcd"


class Membership(msgspec.Struct, frozen=True):
    """`members` are names and `HOST:PORT` as this node was last told."""

    name: str
    members: dict[str, str]

    @property
    def token(self) -> str:
        """The same for the same list in any order; etcd makes the cluster's id of it."""
        text = ",".join(f"{name}={address}" for name, address in sorted(self.members.items()))
        return f"callboard-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def recorded(data_dir: Path) -> Membership | None:
    """Raises `CannotStart`."""
    path = data_dir / RECORD_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Membership)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise unusable(data_dir, error) from error
    except msgspec.MsgspecError as error:
        raise CannotStart(
            f"{path} is damaged: {error}; start with an empty data directory, after"
            " `callboard members remove` and `members add` at another node"
        ) from error
    if (data_dir / DATABASE_FILE).exists():
        raise CannotStart(
            f"{data_dir} holds the board of a node that stood alone: save it there with"
            " `callboard snapshot save`, form the cluster on empty data directories, and"
            " `callboard snapshot restore` it"
        )
    return None


def check_same(found: Membership, given: Membership, data_dir: Path) -> None:
    """Raises `CannotStart` when the node was told something else before."""
    if found.name != given.name:
        raise CannotStart(
            f"{data_dir} is the data directory of node {found.name!r}, not of {given.name!r}:"
            f" start it with --name {found.name}, or name another --data-dir"
        )
    if found.members != given.members:
        known = ",".join(f"{name}={address}" for name, address in found.members.items())
        raise CannotStart(
            f"this node joined another cluster than --cluster says: start it with --cluster {known}"
            " as before; members are changed live, with `callboard members add` and `remove`"
        )


def record(data_dir: Path, membership: Membership) -> None:
    """Durable before the member starts. Raises `CannotStart`."""
    path = data_dir / RECORD_FILE
    try:
        with open(f"{path}.new", "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(membership)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.new", path)
        directory = os.open(data_dir, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise unusable(data_dir, error) from error
