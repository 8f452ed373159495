"""Faults of processes: killed, stopped, restarted, handed over, replaced."""

import signal
import time
from typing import Any

from .cluster import PEER
from .ground import Impossible
from .run import LIVE_S_MAX, Row, Scene

LONG_ENOUGH_S = (3.0, 5.0)
"""Several elections long, and shorter than the leases of the steady population."""


def kill_follower(scene: Scene) -> None:
    _kill(scene, scene.follower())


def kill_leader(scene: Scene) -> None:
    _kill(scene, scene.cluster.leader())


def kill_keeper(scene: Scene) -> None:
    _kill(scene, scene.cluster.keeper())


def _kill(scene: Scene, name: str) -> None:
    scene.cluster.nodes[name].kill()
    scene.hold(1.0, 3.0)
    scene.cluster.restart(name)


def kill_all(scene: Scene) -> None:
    for node in scene.cluster.nodes.values():
        node.signal(signal.SIGKILL)
    for node in scene.cluster.nodes.values():
        node.kill()
    names = list(scene.cluster.nodes)
    scene.random.shuffle(names)
    for name in names:
        scene.hold(0.0, 1.0)
        scene.cluster.restart(name)


def kill_etcd(scene: Scene) -> None:
    """Three times, that of the leader: the node starts it again."""
    for _ in range(3):
        node = scene.cluster.nodes[scene.cluster.leader()]
        node.signal(signal.SIGKILL, [node.etcd_pid()])
        if node.way == "etcd":
            assert node.etcd is not None
            node.etcd.wait(10)
            node.start_etcd(scene.cluster.first)
        scene.hold(1.5, 2.5)


def kill_dns_worker(scene: Scene) -> None:
    for name in scene.cluster.nodes:
        node = scene.cluster.nodes[name]
        node.signal(signal.SIGKILL, [node.dns_pid()])
        scene.hold(0.5, 1.0)


def pause_leader(scene: Scene) -> None:
    _pause(scene, scene.cluster.leader())


def pause_keeper(scene: Scene) -> None:
    _pause(scene, scene.cluster.keeper())


def pause_follower(scene: Scene) -> None:
    _pause(scene, scene.follower())


def _pause(scene: Scene, name: str) -> None:
    node = scene.cluster.nodes[name]
    pids = node.pids()
    node.signal(signal.SIGSTOP, pids)
    scene.hold(*LONG_ENOUGH_S)
    node.signal(signal.SIGCONT, pids)


def pause_keeper_process(scene: Scene) -> None:
    """The node alone: its etcd goes on, and its election lapses all the same."""
    node = scene.cluster.nodes[scene.cluster.keeper()]
    assert node.process is not None
    node.signal(signal.SIGSTOP, [node.process.pid])
    scene.hold(*LONG_ENOUGH_S)
    node.signal(signal.SIGCONT, [node.process.pid])


def pause_etcd(scene: Scene) -> None:
    """That of the leader: the node beside it hears nothing and must not answer as if it did."""
    node = scene.cluster.nodes[scene.cluster.leader()]
    pid = node.etcd_pid()
    node.signal(signal.SIGSTOP, [pid])
    scene.hold(*LONG_ENOUGH_S)
    node.signal(signal.SIGCONT, [pid])


def flicker_etcd(scene: Scene) -> None:
    """Every member stands still for 0.1 to 0.4 s at a time, as on a disk that stalls."""
    until = time.monotonic() + scene.random.uniform(*LONG_ENOUGH_S)
    while time.monotonic() < until:
        node = scene.cluster.nodes[scene.any()]
        pid = node.etcd_pid()
        node.signal(signal.SIGSTOP, [pid])
        scene.hold(0.1, 0.4)
        node.signal(signal.SIGCONT, [pid])
        scene.hold(0.0, 0.2)


def pause_dns_worker(scene: Scene) -> None:
    node = scene.cluster.nodes[scene.any()]
    pid = node.dns_pid()
    node.signal(signal.SIGSTOP, [pid])
    scene.hold(*LONG_ENOUGH_S)
    node.signal(signal.SIGCONT, [pid])


def rolling_restart(scene: Scene) -> None:
    for name in list(scene.cluster.nodes):
        scene.cluster.nodes[name].stop()
        scene.cluster.restart(name)
        scene.cluster.wait_live(LIVE_S_MAX)


def hand_over(scene: Scene) -> None:
    for _ in range(4):
        node = scene.cluster.nodes[scene.cluster.keeper()]
        status, said = node.ask("POST", "/v1/cluster/transfer", timeout_s=10)
        _agreed(status, said)
        scene.hold(0.5, 1.0)


def _agreed(status: int, said: Any) -> None:
    if status == 409 and said["error"]["code"] == "stands_alone":
        raise Impossible(said["error"]["message"])
    assert status < 300, said


def change_members(scene: Scene) -> None:
    """A fourth node joins, serves, and is removed again: it must end by itself."""
    cluster = scene.cluster
    if cluster.way == "etcd":
        raise Impossible("the members of an etcd that exists already are its operator's")
    at = cluster.nodes[scene.any()]
    joining = {"name": "d", "address": f"{scene.ground.next_address()}:{PEER}"}
    _agreed(*at.ask("POST", "/v1/cluster/members", joining, timeout_s=20))
    node = cluster.add("d")
    node.start([*cluster.first, "d"])
    cluster.wait_live(LIVE_S_MAX)
    scene.hold(1.0, 2.0)
    _agreed(*at.ask("DELETE", "/v1/cluster/members/d", timeout_s=20))
    assert node.process is not None
    node.process.wait(LIVE_S_MAX)
    cluster.forget("d")


def compaction_under_a_pause(scene: Scene) -> None:
    """What the paused node has not heard yet is compacted away: it must list and tell the
    difference."""
    name = scene.follower()
    paused = scene.cluster.nodes[name]
    other = scene.cluster.nodes[scene.others(name)[0]]
    pids = paused.pids()
    paused.signal(signal.SIGSTOP, pids)
    scene.hold(*LONG_ENOUGH_S)
    revision = other.ask("GET", "/v1/status")[1]["index"]
    scene.oracle.read(other)  # past what goes: clients go on writing
    other.etcdctl("compact", str(revision))
    paused.signal(signal.SIGCONT, pids)


ROWS = [
    Row("kill-follower", kill_follower),
    Row("kill-leader", kill_leader),
    Row("kill-keeper", kill_keeper),
    Row("kill-all", kill_all, goes_on=False),
    Row("kill-etcd", kill_etcd),
    Row("kill-dns-worker", kill_dns_worker),
    Row("pause-leader", pause_leader),
    Row("pause-keeper", pause_keeper),
    Row("pause-keeper-process", pause_keeper_process),
    Row("pause-follower", pause_follower),
    Row("pause-etcd", pause_etcd),
    Row("flicker-etcd", flicker_etcd),
    Row("pause-dns-worker", pause_dns_worker),
    Row("rolling-restart", rolling_restart),
    Row("hand-over", hand_over),
    Row("change-members", change_members),
    Row("compaction-under-a-pause", compaction_under_a_pause),
]
