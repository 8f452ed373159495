"""Faults of disks and clocks."""

import contextlib
import os
import signal
from pathlib import Path

from .cluster import Cluster
from .disks import Disk
from .ground import Impossible
from .run import NAMES, Row, Scene

LONG_ENOUGH_S = (3.0, 5.0)
SCARCE_MIB = 90
SYNCS_PER_S = 10
"""100 ms for each write of a disk that is dying slowly; etcd syncs once for each round of raft."""
BLKIO = Path("/sys/fs/cgroup/blkio")
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
JUMPS_S = (-86_400, 3_600, 86_400 * 365, 0)


def _on_disks(
    cluster: Cluster, disks: dict[str, Disk], stack: contextlib.ExitStack, **kinds: int
) -> None:
    if os.geteuid() != 0:
        raise Impossible("mounting needs root")
    for name in NAMES:
        node = cluster.nodes[name]
        disks[name] = Disk(node.home, **kinds)
        node.data_dir = disks[name].directory / "data"


def _on_scarce_disks(cluster: Cluster, disks: dict[str, Disk], stack: contextlib.ExitStack) -> None:
    _on_disks(cluster, disks, stack, scarce_mib=SCARCE_MIB)


def power_cut(scene: Scene) -> None:
    _cut_power(scene, [scene.any()])


def power_cut_of_all(scene: Scene) -> None:
    _cut_power(scene, list(scene.cluster.nodes))


def _cut_power(scene: Scene, names: list[str]) -> None:
    """Stopped first: what clients were told by then must be on the disks."""
    for name in names:
        scene.cluster.nodes[name].signal(signal.SIGSTOP)
    for name in names:
        scene.disks[name].cut_power()
    for name in names:
        scene.cluster.nodes[name].kill()
        scene.disks[name].restore_power()
    for name in names:
        scene.cluster.restart(name)


def slow_disk(scene: Scene) -> None:
    """That of the leader: the kernel lets through a few writes each second."""
    node = scene.cluster.nodes[scene.cluster.leader()]
    if not (BLKIO / "blkio.throttle.write_iops_device").exists():
        raise Impossible("no cgroup can throttle a disk here")
    group = BLKIO / f"callboard-faults-{os.getpid()}"
    group.mkdir()
    try:
        limit = f"{scene.disks[node.name].device()} {SYNCS_PER_S}"
        (group / "blkio.throttle.write_iops_device").write_text(limit)
        pids = node.pids()
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
        scene.hold(*LONG_ENOUGH_S)
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (BLKIO / "cgroup.procs").write_text(pid)
        group.rmdir()


def disk_full(scene: Scene) -> None:
    """Of one node; whatever ended is started again when there is room."""
    name = scene.any()
    scene.disks[name].fill()
    scene.hold(*LONG_ENOUGH_S)
    scene.disks[name].make_room()
    _start_what_ended(scene, name)
    if "no space left" not in scene.cluster.nodes[name].log().lower():
        raise Impossible("etcd had set enough room aside: nothing met the full disk")


def failing_fsync(scene: Scene) -> None:
    """What was not made durable is never acknowledged; the disk is checked and used again."""
    name = scene.any()
    disk = scene.disks[name]
    disk.fill_below()
    scene.hold(*LONG_ENOUGH_S)
    scene.cluster.nodes[name].kill()
    disk.make_room()
    disk.repair()
    scene.cluster.restart(name)


def _start_what_ended(scene: Scene, name: str) -> None:
    node = scene.cluster.nodes[name]
    if not node.is_running or (node.etcd is not None and node.etcd.poll() is not None):
        node.kill()
        scene.cluster.restart(name)


def _with_a_false_clock(
    cluster: Cluster, disks: dict[str, Disk], stack: contextlib.ExitStack
) -> None:
    if not FAKETIME.exists():
        raise Impossible("libfaketime is not installed")
    for node in cluster.nodes.values():
        (node.home / "clock").write_text("+0")
        node.environment = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(node.home / "clock"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }


def clock_jumps(scene: Scene) -> None:
    """The wall clock of our processes. etcd reads the clock without a library, so its own stays;
    it reckons elections and leases in monotonic time."""
    for jump_s in JUMPS_S:
        node = scene.cluster.nodes[scene.cluster.keeper()]
        (node.home / "clock").write_text(f"{jump_s:+d}")
        scene.hold(1.0, 1.5)


ROWS = [
    Row("power-cut", power_cut, _on_disks, goes_on=False),
    Row("power-cut-of-all", power_cut_of_all, _on_disks, goes_on=False),
    Row("slow-disk", slow_disk, _on_disks),
    Row("disk-full", disk_full, _on_disks),
    Row("failing-fsync", failing_fsync, _on_scarce_disks),
    Row("clock-jumps", clock_jumps, _with_a_false_clock),
]
