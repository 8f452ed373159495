"""Faults of several kinds at once, each begun before the last is over."""

import contextlib
import itertools
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial

from .cluster import Cluster
from .disks import Disk
from .run import Row, Scene

STORM_S = 12.0
"""Some ten faults; shorter than clients' patience, so that leases would show a mistake."""

WITHOUT_GUARD = ("--mass-expiry-share", "0")
"""What dies while nobody keeps the leases runs out together afterwards: the guard against mass
expiry would rightly hold it back, for longer than a run takes."""

Undo = Callable[[], None]


def _without_guard(cluster: Cluster, disks: dict[str, Disk], stack: contextlib.ExitStack) -> None:
    for node in cluster.nodes.values():
        node.options = WITHOUT_GUARD


def storm(scene: Scene) -> None:
    """Any node may be killed, stopped, cut off or told to hand over, two of them at once."""
    until = time.monotonic() + STORM_S
    done: list[str] = []
    last: Undo = _nothing
    kinds: tuple[Callable[[Scene, str], Undo], ...] = (_cut, _pause, _kill, _kill_etcd, _transfer)
    try:
        while time.monotonic() < until:
            kind, name = scene.random.choice(kinds), scene.any()
            undo = kind(scene, name)
            done.append(f"{kind.__name__[1:]} {name}")
            scene.hold(0.2, 1.2)
            last()
            last = undo
            scene.hold(0.0, 0.8)
    finally:
        last()
    scene.seen.append(", ".join(done))
    scene.saw("faults", len(done))


def _nothing() -> None:
    pass


def _cut(scene: Scene, name: str) -> Undo:
    scene.ground.cut([name], scene.others(name))
    return scene.ground.heal


def _pause(scene: Scene, name: str) -> Undo:
    node = scene.cluster.nodes[name]
    pids = node.pids()
    node.signal(signal.SIGSTOP, pids)
    return partial(node.signal, signal.SIGCONT, pids)


def _kill(scene: Scene, name: str) -> Undo:
    scene.cluster.nodes[name].kill()
    return partial(scene.cluster.restart, name)


def _kill_etcd(scene: Scene, name: str) -> Undo:
    """The node starts it again by itself; with `--etcd`, whoever looks after the member."""
    node = scene.cluster.nodes[name]
    node.signal(signal.SIGKILL, node.etcd_pids())
    if node.etcd is None:
        return _nothing
    node.etcd.wait(10)
    return partial(node.start_etcd, scene.cluster.first)


def _transfer(scene: Scene, name: str) -> Undo:
    with contextlib.suppress(OSError):
        scene.cluster.nodes[name].ask("POST", "/v1/cluster/transfer", timeout_s=1)
    return _nothing


def swizzle(scene: Scene) -> None:
    """Links are cut one by one, and mended one by one in another order."""
    cut: set[tuple[str, str]] = set()
    links = list(itertools.combinations(scene.cluster.nodes, 2))
    for link in [*_shuffled(scene, links), *_shuffled(scene, links)]:
        cut ^= {link}
        scene.ground.heal()
        for one, other in cut:
            scene.ground.cut([one], [other])
        scene.hold(0.3, 1.2)
    scene.ground.heal()
    scene.saw("packets lost", scene.ground.harmed)


def _shuffled(scene: Scene, links: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return iter(scene.random.sample(links, len(links)))


ROWS = [
    Row("storm", storm, _without_guard, goes_on=False),
    Row("swizzle", swizzle, goes_on=False),
]
