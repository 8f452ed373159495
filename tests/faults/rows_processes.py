"""Faults of processes: killed, stopped, restarted, handed over, replaced."""

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .cluster import PEER, Node
from .ground import Impossible
from .run import LIVE_S_MAX, Row, Scene

LONG_ENOUGH_S = (3.0, 5.0)
"""Several elections long, and shorter than the leases of the steady population."""
EXIT_REMOVED = 78
"""Of a node that is no member any more."""


def kill_follower(scene: Scene) -> None:
    name = scene.follower()
    _kill(scene, name)
    scene.hold(1.0, 3.0)
    scene.cluster.restart(name)


def kill_leader(scene: Scene) -> None:
    name = scene.cluster.leader()
    _kill(scene, name)
    scene.hold(1.0, 3.0)
    scene.another_leads(than=name)
    scene.cluster.restart(name)


def kill_keeper(scene: Scene) -> None:
    name = scene.cluster.keeper()
    _kill(scene, name)
    scene.another_keeps(than=name)
    scene.cluster.restart(name)


def _kill(scene: Scene, *names: str) -> None:
    """All of them before any is waited for."""
    nodes = [scene.cluster.nodes[name] for name in names]
    scene.saw("processes killed", sum(len(node.pids()) for node in nodes))
    for node in nodes:
        node.signal(signal.SIGKILL)
    for node in nodes:
        node.kill()


def kill_all(scene: Scene) -> None:
    names = list(scene.cluster.nodes)
    _kill(scene, *names)
    scene.random.shuffle(names)
    for name in names:
        scene.hold(0.0, 1.0)
        scene.cluster.restart(name)


def kill_etcd(scene: Scene) -> None:
    """Three times, that of the leader: the node starts it again."""
    for _ in range(3):
        node = scene.cluster.nodes[scene.cluster.leader()]
        killed = node.etcd_pid()
        node.signal(signal.SIGKILL, [killed])
        if node.way == "etcd":
            assert node.etcd is not None
            node.etcd.wait(10)
            node.start_etcd(scene.cluster.first)
        scene.hold(1.5, 2.5)
        scene.saw("members started again", node.another(node.etcd_pid, killed))


def kill_dns_worker(scene: Scene) -> None:
    for node in scene.cluster.nodes.values():
        killed = node.dns_pid()
        node.signal(signal.SIGKILL, [killed])
        scene.hold(0.5, 1.0)
        scene.saw("workers started again", node.another(node.dns_pid, killed))


def pause_leader(scene: Scene) -> None:
    name = scene.cluster.leader()
    with _standing_still(scene, name):
        scene.hold(*LONG_ENOUGH_S)
        scene.another_leads(than=name)


def pause_keeper(scene: Scene) -> None:
    name = scene.cluster.keeper()
    with _standing_still(scene, name):
        scene.hold(*LONG_ENOUGH_S)
        scene.another_keeps(than=name)


def pause_follower(scene: Scene) -> None:
    with _standing_still(scene, scene.follower()):
        scene.hold(*LONG_ENOUGH_S)


@contextlib.contextmanager
def _standing_still(scene: Scene, name: str, pids: Sequence[int] = ()) -> Iterator[None]:
    """Its `pids`, or all of its processes."""
    node = scene.cluster.nodes[name]
    pids = pids or node.pids()
    node.signal(signal.SIGSTOP, pids)
    try:
        yield
        stopped = node.stopped()
    finally:
        node.signal(signal.SIGCONT, pids)
    scene.saw("processes stopped", stopped)


def pause_keeper_process(scene: Scene) -> None:
    """The node alone: its etcd goes on, and its election lapses all the same."""
    name = scene.cluster.keeper()
    process = scene.cluster.nodes[name].process
    assert process is not None
    with _standing_still(scene, name, [process.pid]):
        scene.hold(*LONG_ENOUGH_S)
        scene.another_keeps(than=name)


def pause_etcd(scene: Scene) -> None:
    """That of the leader: the node beside it hears nothing and must not answer as if it did."""
    name = scene.cluster.leader()
    with _standing_still(scene, name, [scene.cluster.nodes[name].etcd_pid()]):
        scene.hold(*LONG_ENOUGH_S)
        scene.another_leads(than=name)


def flicker_etcd(scene: Scene) -> None:
    """Every member stands still for 0.1 to 0.4 s at a time, as on a disk that stalls."""
    until = time.monotonic() + scene.random.uniform(*LONG_ENOUGH_S)
    times = 0
    while time.monotonic() < until:
        node = scene.cluster.nodes[scene.any()]
        pid = node.etcd_pid()
        node.signal(signal.SIGSTOP, [pid])
        scene.hold(0.1, 0.4)
        times += node.stopped()
        node.signal(signal.SIGCONT, [pid])
        scene.hold(0.0, 0.2)
    scene.saw("times that a member stood still", times)


def pause_dns_worker(scene: Scene) -> None:
    name = scene.any()
    with _standing_still(scene, name, [scene.cluster.nodes[name].dns_pid()]):
        scene.hold(*LONG_ENOUGH_S)


def rolling_restart(scene: Scene) -> None:
    codes, longest_s = [], 0.0
    for name in list(scene.cluster.nodes):
        began = time.monotonic()
        codes.append(scene.cluster.nodes[name].stop())
        longest_s = max(longest_s, time.monotonic() - began)
        scene.cluster.restart(name)
        scene.cluster.wait_live(LIVE_S_MAX)
    assert codes == [0] * len(codes), f"the nodes ended with {codes}"
    scene.saw("nodes restarted", len(codes))
    scene.seen.append(f"longest stop: {longest_s:.2f} s")


def hand_over(scene: Scene) -> None:
    times = 0
    for _ in range(4):
        keeper = scene.cluster.keeper()
        node = scene.cluster.nodes[keeper]
        status, said = node.ask("POST", "/v1/cluster/transfer", timeout_s=10)
        _agreed(status, said)
        follows = scene.cluster.next_keeper(keeper)
        assert said["keeper"] == follows, f"{said}, but {follows} keeps the leases"
        times += 1
        scene.hold(0.5, 1.0)
    scene.saw("times that another kept the leases at once", times)


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
    assert "d" in _members(at)
    scene.saw("members with it", len(_members(at)))
    scene.hold(1.0, 2.0)
    _agreed(*at.ask("DELETE", "/v1/cluster/members/d", timeout_s=20))
    assert node.process is not None
    code = node.process.wait(LIVE_S_MAX)
    assert code == EXIT_REMOVED, f"the removed node ended with {code}"
    assert "has been removed from its cluster" in node.log()
    cluster.forget("d")
    assert "d" not in _members(at)
    scene.saw("members without it", len(_members(at)))


def replace_member(scene: Scene) -> None:
    """The leader's machine is given up while it still serves, and comes back with empty disks."""
    cluster, name = scene.cluster, scene.cluster.leader()
    if cluster.way == "etcd":
        raise Impossible("the members of an etcd that exists already are its operator's")
    at, node = cluster.nodes[scene.others(name)[0]], cluster.nodes[name]
    _agreed(*at.ask("DELETE", f"/v1/cluster/members/{name}", timeout_s=20))
    assert node.process is not None
    code = node.process.wait(LIVE_S_MAX)
    assert code == EXIT_REMOVED, f"the removed node ended with {code}"
    scene.another_leads(than=name)
    shutil.rmtree(node.data_dir)
    back = {"name": name, "address": f"{node.address}:{PEER}"}
    _agreed(*at.ask("POST", "/v1/cluster/members", back, timeout_s=20))
    cluster.restart(name)
    cluster.wait_live(LIVE_S_MAX)
    scene.saw("members with it again", len(_members(at)))


def _members(node: Node) -> list[str]:
    status, said = node.ask("GET", "/v1/cluster/members")
    return [member["name"] for member in said["members"]] if status == 200 else []


def compaction_under_a_pause(scene: Scene) -> None:
    """What the paused node has not heard yet is compacted away: it must list and tell the
    difference. Its member dies meanwhile: one that lives would tell it everything first."""
    cluster, name = scene.cluster, scene.follower()
    paused = cluster.nodes[name]
    other = cluster.nodes[scene.others(name)[0]]
    with _standing_still(scene, name):
        scene.hold(*LONG_ENOUGH_S)
        revision = other.ask("GET", "/v1/status")[1]["index"]
        scene.oracle.read(other)  # past what goes: clients go on writing
        other.etcdctl("compact", str(revision))
        paused.signal(signal.SIGKILL, [paused.etcd_pid()])
    if paused.etcd is not None:
        paused.etcd.wait(10)
        paused.start_etcd(cluster.first)
    cluster.wait_live(LIVE_S_MAX)
    scene.saw("times that it listed anew", paused.log().count("compacted changes that this node"))


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
    Row("rolling-restart", rolling_restart, clean_calls=True),
    Row("hand-over", hand_over),
    Row("change-members", change_members),
    Row("replace-member", replace_member),
    Row("compaction-under-a-pause", compaction_under_a_pause),
]
