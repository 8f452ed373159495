"""Faults of the network between nodes: cut, deaf, flapping, lossy, slow."""

import time

from .delay import delayed
from .run import Row, Scene

LONG_ENOUGH_S = (3.0, 5.0)
ELECTIONS_MAX = 2
"""Two busy cores may cost one by themselves; without pre-vote a follower that hears nothing asks
for one every second."""


def _heal(scene: Scene) -> None:
    scene.ground.heal()
    scene.saw("packets lost", scene.ground.harmed)


def leader_alone(scene: Scene) -> None:
    leader = scene.cluster.leader()
    scene.ground.cut([leader], scene.others(leader))
    scene.hold(*LONG_ENOUGH_S)
    scene.another_leads(than=leader)
    _heal(scene)


def keeper_alone(scene: Scene) -> None:
    keeper = scene.cluster.keeper()
    scene.ground.cut([keeper], scene.others(keeper))
    scene.hold(*LONG_ENOUGH_S)
    scene.another_keeps(than=keeper)
    _heal(scene)


def follower_alone(scene: Scene) -> None:
    follower = scene.follower()
    scene.ground.cut([follower], scene.others(follower))
    scene.hold(*LONG_ENOUGH_S)
    _heal(scene)


def everyone_alone(scene: Scene) -> None:
    for name in scene.cluster.nodes:
        scene.ground.deafen(name, scene.others(name))
    scene.hold(*LONG_ENOUGH_S)
    _heal(scene)


def leader_is_deaf(scene: Scene) -> None:
    """It can send, and hears nobody."""
    leader = scene.cluster.leader()
    scene.ground.deafen(leader, scene.others(leader))
    scene.hold(*LONG_ENOUGH_S)
    scene.another_leads(than=leader)
    _heal(scene)


def follower_is_deaf(scene: Scene) -> None:
    """It must not depose a leader whom everybody else hears, nor drive up the term."""
    follower = scene.follower()
    scene.ground.deafen(follower, scene.others(follower))
    scene.hold(*LONG_ENOUGH_S)
    _heal(scene)
    elections = scene.cluster.nodes[scene.others(follower)[0]].raft_term() - scene.term
    assert elections <= ELECTIONS_MAX, f"{elections} elections because of one deaf follower"


def leader_is_mute(scene: Scene) -> None:
    leader = scene.cluster.leader()
    for other in scene.others(leader):
        scene.ground.deafen(other, [leader])
    scene.hold(*LONG_ENOUGH_S)
    scene.another_leads(than=leader)
    _heal(scene)


def bridge(scene: Scene) -> None:
    """One node reaches both others, who do not reach each other."""
    left, right = scene.others(scene.any())
    scene.ground.cut([left], [right])
    scene.hold(*LONG_ENOUGH_S)
    _heal(scene)


def flapping(scene: Scene) -> None:
    """One node's link goes and comes, 50 to 500 ms each."""
    name = scene.any()
    until = time.monotonic() + 6
    times = 0
    while time.monotonic() < until:
        met = scene.ground.harmed
        scene.ground.cut([name], scene.others(name))
        scene.hold(0.05, 0.5)
        scene.ground.heal()
        times += scene.ground.harmed > met
        scene.hold(0.05, 0.5)
    scene.saw("times that packets were lost", times)


def loss(scene: Scene) -> None:
    """A fifth of all packets between nodes."""
    for name in scene.cluster.nodes:
        chance = ("-m", "statistic", "--mode", "random", "--probability", "0.2")
        scene.ground.deafen(name, scene.others(name), *chance)
    scene.hold(*LONG_ENOUGH_S)
    _heal(scene)


def delay(scene: Scene) -> None:
    """75 ms and up to 50 more, each way, on all new connections between nodes."""
    with delayed(scene.ground, list(scene.cluster.nodes), 0.075, 0.05, scene.random.random()):
        scene.hold(*LONG_ENOUGH_S)
    scene.saw("connections led through a proxy", scene.ground.harmed)


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
