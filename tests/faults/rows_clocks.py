"""Faults of clocks."""

import contextlib
import email.utils
import shutil
import struct
import subprocess
import time
from pathlib import Path

from .cluster import HTTP, Cluster, Node
from .disks import Disk
from .ground import Impossible
from .run import Row, Scene
from .wire import Connection

SHIM = Path(__file__).with_name("wall_clock.c")
JUMPS_S = (-86_400, 3_600, 86_400 * 365, 0)
OFF_S_MAX = 5
"""Between a clock that has jumped and what the answer to a call says of it."""


def _with_a_false_clock(
    cluster: Cluster, disks: dict[str, Disk], stack: contextlib.ExitStack
) -> None:
    """A library of ours: libfaketime of Debian 12 lets every `time.sleep` of Python fail."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Impossible("there is no C compiler for the false clock")
    library = cluster.home / "wall_clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SHIM], check=True)
    for node in cluster.nodes.values():
        _put_forward(node, 0)
        node.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(_offset(node))}


def _offset(node: Node) -> Path:
    return node.home / "wall-clock-offset"


def _put_forward(node: Node, offset_s: int) -> None:
    """Written in place: the processes have the file mapped."""
    with _offset(node).open("r+b" if _offset(node).exists() else "wb") as file:
        file.write(struct.pack("=q", offset_s))


def clock_jumps(scene: Scene) -> None:
    """The wall clock of our processes. etcd reads the clock without a library, so its own stays;
    it reckons elections and leases in monotonic time."""
    for jump_s in JUMPS_S:
        node = scene.cluster.nodes[scene.cluster.keeper()]
        _put_forward(node, jump_s)
        scene.hold(1.0, 1.5)
        off_s = _clock_of(node) - time.time()
        assert abs(off_s - jump_s) < OFF_S_MAX, f"{node.name} is {off_s} s off, not {jump_s} s"
        scene.seen.append(f"the clock of {node.name}, the keeper: {off_s:+.0f} s")


def _clock_of(node: Node) -> float:
    """In seconds of the epoch, as the node dates its answers."""
    with contextlib.closing(Connection(node.address, HTTP, 3)) as connection:
        date = connection.ask("GET", "/healthz").headers["Date"]
    return email.utils.parsedate_to_datetime(date).timestamp()


ROWS = [Row("clock-jumps", clock_jumps, _with_a_false_clock)]
