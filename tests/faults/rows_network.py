"""Faults of the network between nodes: cut, deaf, flapping, lossy, slow."""

import time

from .delay import delayed
from .run import Row, Scene

LONG_ENOUGH_S = (3.0, 5.0)


def _cut_off(scene: Scene, name: str) -> None:
    scene.ground.cut([name], scene.others(name))
    scene.hold(*LONG_ENOUGH_S)
    scene.ground.heal()


def leader_alone(scene: Scene) -> None:
    _cut_off(scene, scene.cluster.leader())


def keeper_alone(scene: Scene) -> None:
    _cut_off(scene, scene.cluster.keeper())


def follower_alone(scene: Scene) -> None:
    _cut_off(scene, scene.follower())


def everyone_alone(scene: Scene) -> None:
    for name in scene.cluster.nodes:
        scene.ground.deafen(name, scene.others(name))
    scene.hold(*LONG_ENOUGH_S)
    scene.ground.heal()


def leader_is_deaf(scene: Scene) -> None:
    """It can send, and hears nobody."""
    leader = scene.cluster.leader()
    scene.ground.deafen(leader, scene.others(leader))
    scene.hold(*LONG_ENOUGH_S)
    scene.ground.heal()


def follower_is_deaf(scene: Scene) -> None:
    """It must not depose a leader whom everybody else hears."""
    follower = scene.follower()
    scene.ground.deafen(follower, scene.others(follower))
    scene.hold(*LONG_ENOUGH_S)
    scene.ground.heal()


def leader_is_mute(scene: Scene) -> None:
    leader = scene.cluster.leader()
    for other in scene.others(leader):
        scene.ground.deafen(other, [leader])
    scene.hold(*LONG_ENOUGH_S)
    scene.ground.heal()


def bridge(scene: Scene) -> None:
    """One node reaches both others, who do not reach each other."""
    left, right = scene.others(scene.any())
    scene.ground.cut([left], [right])
    scene.hold(*LONG_ENOUGH_S)
    scene.ground.heal()


def flapping(scene: Scene) -> None:
    """One node's link goes and comes, 50 to 500 ms each."""
    name = scene.any()
    until = time.monotonic() + 6
    while time.monotonic() < until:
        scene.ground.cut([name], scene.others(name))
        scene.hold(0.05, 0.5)
        scene.ground.heal()
        scene.hold(0.05, 0.5)


def loss(scene: Scene) -> None:
    """A fifth of all packets between nodes."""
    for name in scene.cluster.nodes:
        chance = ("-m", "statistic", "--mode", "random", "--probability", "0.2")
        scene.ground.deafen(name, scene.others(name), *chance)
    scene.hold(*LONG_ENOUGH_S)
    scene.ground.heal()


def delay(scene: Scene) -> None:
    """75 ms and up to 50 more, each way, on all new connections between nodes."""
    with delayed(scene.ground, list(scene.cluster.nodes), 0.075, 0.05, scene.random.random()):
        scene.hold(*LONG_ENOUGH_S)


ROWS = [
    Row("leader-alone", leader_alone),
    Row("keeper-alone", keeper_alone),
    Row("follower-alone", follower_alone),
    Row("everyone-alone", everyone_alone, goes_on=False),
    Row("leader-is-deaf", leader_is_deaf),
    Row("leader-is-mute", leader_is_mute),
    Row("follower-is-deaf", follower_is_deaf),
    Row("bridge", bridge),
    Row("flapping", flapping),
    Row("loss", loss),
    Row("delay", delay),
]
