"""Faults of disks: cut off from power, slow, full, failing."""

import contextlib
import os
import signal
from pathlib import Path

from .cluster import DNS, Cluster, Node
from .disks import Disk
from .ground import Impossible
from .run import NAMES, Row, Scene
from .traffic import POPULATION, ZONE
from .wire import ask_dns

LONG_ENOUGH_S = (3.0, 5.0)
SCARCE_MIB = 90
SYNCS_PER_S = 10
"""100 ms for each write of a disk that is dying slowly; etcd syncs once for each round of raft."""
BLKIO = Path("/sys/fs/cgroup/blkio")
UNSYNCED = b"not synced" * 400
NO_SPACE = "no space left"
MUCH_MIB_MAX = 64
"""More than etcd's database is given room for ahead of time."""
SYNC_FAILED = ("input/output error", "structure needs cleaning", "read-only file system")
"""What the kernel says of a disk that fails, at once and after ext4 has given up on it."""


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
        (scene.disks[name].directory / "unsynced").write_bytes(UNSYNCED)
    for name in names:
        scene.disks[name].cut_power()
    for name in names:
        scene.cluster.nodes[name].kill()
        scene.disks[name].restore_power()
    scene.saw("disks that lost what was not synced", sum(_lost(scene.disks[n]) for n in names))
    for name in names:
        scene.cluster.restart(name)


def _lost(disk: Disk) -> bool:
    unsynced = disk.directory / "unsynced"
    return not unsynced.exists() or unsynced.read_bytes() != UNSYNCED


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
        served = (group / "blkio.throttle.io_serviced").read_text().split("Write ")[1].split()[0]
        scene.saw("writes let through one by one", int(served))
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (BLKIO / "cgroup.procs").write_text(pid)
        group.rmdir()


def disk_full(scene: Scene) -> None:
    _fill(scene, [scene.any()])


def disk_full_of_all(scene: Scene) -> None:
    _fill(scene, list(scene.cluster.nodes))


def _fill(scene: Scene, names: list[str]) -> None:
    """Disks that were filled behind etcd's back: its log has room set aside, its database grows
    when what is written does. There is no writing there, but reading and DNS go on; when there
    is room again, so does everything, and nobody has to help."""
    for name in names:
        scene.disks[name].fill()
    nodes = [scene.cluster.nodes[name] for name in names]
    _write_much(scene, nodes)
    scene.saw("disks that were met full", sum(map(_has_met_the_end, nodes)))
    scene.hold(*LONG_ENOUGH_S)
    for node in nodes:
        _serves_without_writing(scene, node)
    for name in names:
        scene.disks[name].make_room()
        if scene.cluster.way == "etcd":
            scene.cluster.nodes[name].start_etcd(scene.cluster.first)


def _write_much(scene: Scene, nodes: list[Node]) -> None:
    """Through any node that takes it, until all of `nodes` have met the end of their disks, or
    so many that nobody takes anything."""
    for number in range(MUCH_MIB_MAX * 4):
        if all(map(_has_met_the_end, nodes)):
            return
        value = scene.random.randbytes(128 << 10).hex()
        if not any(
            _takes(node, f"much-{number % 32}", value) for node in scene.cluster.nodes.values()
        ):
            return


def _has_met_the_end(node: Node) -> bool:
    return NO_SPACE in node.log().lower()


def _takes(node: Node, key: str, value: str) -> bool:
    with contextlib.suppress(OSError):
        return node.ask("PUT", f"/v1/kv/{key}", value, timeout_s=6)[0] == 200
    return False


def _serves_without_writing(scene: Scene, node: Node) -> None:
    status, said = node.ask("PUT", "/v1/kv/full", "there?", timeout_s=6)
    code = said["error"]["code"] if status != 200 else "taken"
    assert code in ("no_quorum", "outcome_unknown"), f"a write at the full disk: {status} {said}"
    if scene.cluster.way == "cluster" and _has_met_the_end(node):
        assert NO_SPACE in said["error"]["message"].lower(), said
    scene.seen.append(f"a write there: {status} {said['error']['message']}")
    path = f"/v1/services/{POPULATION}/instances?consistency=stale"
    status, listed = node.ask("GET", path)
    assert status == 200, f"a stale read at the full disk: {status} {listed}"
    assert listed["instances"], "a stale read at the full disk shows nobody"
    told = ask_dns(node.address, DNS, f"{POPULATION}.service.{ZONE}", 2)
    assert told is not None, "no answer from DNS at the full disk"
    code, answers = told
    assert code == 0, f"DNS at the full disk: {told}"
    scene.saw("answers of DNS there", answers)


def failing_fsync(scene: Scene) -> None:
    """What was not made durable is never acknowledged; the disk is checked and used again."""
    name = scene.any()
    disk = scene.disks[name]
    disk.fill_below()
    scene.hold(*LONG_ENOUGH_S)
    log = scene.cluster.nodes[name].log().lower()
    scene.saw("syncs that failed", sum(log.count(text) for text in SYNC_FAILED))
    scene.cluster.nodes[name].kill()
    disk.make_room()
    disk.repair()
    scene.cluster.restart(name)


ROWS = [
    Row("power-cut", power_cut, _on_disks, goes_on=False),
    Row("power-cut-of-all", power_cut_of_all, _on_disks, goes_on=False),
    Row("slow-disk", slow_disk, _on_disks),
    Row("disk-full", disk_full, _on_disks),
    Row("disk-full-of-all", disk_full_of_all, _on_disks, goes_on=False),
    Row("failing-fsync", failing_fsync, _on_scarce_disks),
]
