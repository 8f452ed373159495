"""One run: a fresh cluster, traffic, a fault, healing, and all checks."""

import contextlib
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import ground, watch_order
from .cluster import Cluster, NotLive, Way
from .disks import Disk
from .ground import Impossible
from .history import History
from .oracle import Oracle, shown_by
from .patient import Patience
from .traffic import MORTAL_TTL_S, Traffic
from .verdict import LEASE_BOUND_S, Evidence, faults_in

NAMES = ("a", "b", "c")
BEFORE_S, AFTER_S = 2.5, 2.5
OPERATIONS_MIN = 60
"""Successful calls before and after the fault; a run with fewer shows nothing and fails."""
DURING_MIN = 10
LIVE_S_MAX = 30.0
"""Two cores run everything: an election takes a second, a start two, alone."""
QUIET_S_MAX = 60.0
"""Until every watcher has caught up, once all is healed."""


class NoBite(Exception):
    """The fault was not seen to happen: such a run shows nothing."""


@dataclass(slots=True)
class Outcome:
    """One line of the table. `faults`: by check, what was found; `seen`: of the fault itself."""

    row: str
    seed: int
    before: int = 0
    during: int = 0
    after: int = 0
    unknown: int = 0
    fault_s: float = 0.0
    heal_s: float = 0.0
    faults: dict[str, list[str]] = field(default_factory=dict)
    skipped: str = ""
    seen: list[str] = field(default_factory=list)
    evidence: Evidence | None = None

    @property
    def verdict(self) -> str:
        return "skipped" if self.skipped else "FAILED" if self.faults else "ok"


@dataclass(slots=True)
class Scene:
    """What a fault acts on."""

    cluster: Cluster
    ground: ground.Ground
    random: random.Random
    disks: dict[str, Disk]
    oracle: Oracle
    traffic: Traffic
    home: Path
    seen: list[str]
    term: int = 0
    """Of raft, before the fault."""

    def saw(self, what: str, count: float) -> None:
        """What shows that the fault happened, with the number of it. Raises `NoBite` at none."""
        if not count:
            raise NoBite(f"no {what}")
        self.seen.append(f"{what}: {count:.10g}")

    def others(self, name: str) -> list[str]:
        return [other for other in self.cluster.nodes if other != name]

    def any(self) -> str:
        return self.random.choice(list(self.cluster.nodes))

    def follower(self) -> str:
        return self.random.choice(self.others(self.cluster.leader()))

    def another_leads(self, than: str) -> None:
        """Waits until those who are left have elected one."""
        node = self.cluster.nodes[self.others(than)[0]]
        deadline = time.monotonic() + LIVE_S_MAX
        while (elections := node.raft_term() - self.term) == 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        self.saw("elections", elections)

    def another_keeps(self, than: str) -> None:
        self.cluster.next_keeper(than)
        self.saw("keepers replaced", 1)

    def hold(self, least_s: float, most_s: float) -> None:
        time.sleep(self.random.uniform(least_s, most_s))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the matrix. `act` breaks and heals; `prepare` comes before the nodes start.

    `goes_on`: a majority works during the fault, and must have served at least a few calls.
    """

    name: str
    act: Callable[[Scene], None]
    prepare: Callable[[Cluster, dict[str, Disk], contextlib.ExitStack], None] | None = None
    goes_on: bool = True
    clean_calls: bool = False
    """No call of a client that tries again, as clients do, may fail."""


def run(
    row: Row, seed: int, way: Way, keep: Path | None = None, *, reads: str = "strong"
) -> Outcome:
    """`keep`: a directory for the history and the logs.

    `reads`: the consistency that clients of registers ask for; weaker ones are a control.
    """
    outcome = Outcome(row.name, seed)
    with contextlib.ExitStack() as stack:
        laid = stack.enter_context(ground.laid(NAMES))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callboard-faults-")))
        stack.enter_context(laid.standing_with_clients())
        try:
            _run_on(row, outcome, way, laid, home, stack, keep, reads)
        except Impossible as reason:
            outcome.skipped = str(reason)
        except NotLive as reason:
            outcome.faults["live"] = [str(reason)]
        except NoBite as reason:
            outcome.faults["bite"] = [str(reason)]
        except (OSError, AssertionError, subprocess.SubprocessError) as error:
            outcome.faults["row"] = [repr(error)]
    return outcome


def _run_on(
    row: Row,
    outcome: Outcome,
    way: Way,
    laid: ground.Ground,
    home: Path,
    stack: contextlib.ExitStack,
    keep: Path | None,
    reads: str,
) -> None:
    cluster = Cluster(laid, home, NAMES, way)
    disks: dict[str, Disk] = {}
    stack.callback(_remove, disks)
    stack.enter_context(_closing(cluster, keep))
    if row.prepare:
        row.prepare(cluster, disks, stack)
    cluster.start()
    history = History(keep / "history.jsonl" if keep else None)
    stack.callback(history.close)
    traffic = Traffic(cluster, history, outcome.seed, reads)
    oracle = Oracle(cluster)
    rng = random.Random(f"{row.name} {outcome.seed}")
    scene = Scene(cluster, laid, rng, disks, oracle, traffic, home, outcome.seen)
    patience = Patience(traffic) if row.clean_calls else None
    cluster.busy = True
    traffic.start()
    stack.callback(traffic.stop)
    if patience:
        patience.start()
    _act(row, scene, outcome)
    traffic.settle()
    if patience:
        outcome.seen.append(patience.told())
        if patience.failed:
            outcome.faults["calls"] = patience.failed
    cluster.busy = False
    cluster.wait_live(LIVE_S_MAX)
    evidence = outcome.evidence = _evidence(scene, traffic.healed_ns)
    outcome.unknown = sum(call.outcome == "unknown" for call in history.calls)
    outcome.faults |= faults_in(evidence)
    if traffic.errors:
        outcome.faults["clients"] = traffic.errors
    _count(row, outcome)


def _act(row: Row, scene: Scene, outcome: Outcome) -> None:
    began = time.monotonic_ns()
    time.sleep(BEFORE_S)
    scene.term = next(iter(scene.cluster.nodes.values())).raft_term()
    broke = time.monotonic_ns()
    row.act(scene)
    if not outcome.seen:
        raise NoBite("nothing was seen of the fault")
    healing = time.monotonic_ns()
    outcome.heal_s = scene.cluster.wait_live(LIVE_S_MAX)
    healed = scene.traffic.healed_ns = time.monotonic_ns()
    time.sleep(AFTER_S)
    history = scene.traffic.history
    outcome.before = history.ok_between(began, broke)
    outcome.during = history.ok_between(broke, healing)
    outcome.after = history.ok_between(healed, time.monotonic_ns())
    outcome.fault_s = (healing - broke) / 1e9


def _evidence(scene: Scene, healed_ns: int) -> Evidence:
    """Wait until the dead have gone and every watcher has seen the last change, then look."""
    cluster, traffic = scene.cluster, scene.traffic
    deadline = time.monotonic() + MORTAL_TTL_S * 4 + LEASE_BOUND_S
    while time.monotonic() < deadline and _mortals_left(cluster):
        time.sleep(0.2)
    cluster.wait_live(LIVE_S_MAX)
    log = scene.oracle.read()
    shown = {name: shown_by(node) for name, node in cluster.nodes.items()}
    last = max((change.index for change in log if "/" in change.key), default=0)
    deadline = time.monotonic() + QUIET_S_MAX
    while time.monotonic() < deadline and watch_order.behind(traffic.watched, last):
        time.sleep(0.1)
    traffic.errors += watch_order.behind(traffic.watched, last)
    traffic.stop()
    history = traffic.history
    return Evidence(
        history,
        log,
        {name: state for name, (_, state) in shown.items()},
        {name: index for name, (index, _) in shown.items()},
        traffic.steady_keys(),
        traffic.mortals,
        scene.oracle.keeper_changes - 1,
        healed_ns,
    )


def _mortals_left(cluster: Cluster) -> bool:
    for node in cluster.nodes.values():
        _, listed = node.ask("GET", "/v1/services/mortals/instances")
        if listed.get("instances"):
            return True
    return False


def _count(row: Row, outcome: Outcome) -> None:
    if outcome.before < OPERATIONS_MIN or outcome.after < OPERATIONS_MIN:
        outcome.faults["valid"] = [
            f"{outcome.before} calls before and {outcome.after} after the fault show nothing:"
            f" {OPERATIONS_MIN} are needed"
        ]
    if row.goes_on and outcome.during < DURING_MIN:
        outcome.faults["goes on"] = [f"{outcome.during} calls during the fault"]


@contextlib.contextmanager
def _closing(cluster: Cluster, keep: Path | None) -> Iterator[None]:
    try:
        yield
    finally:
        cluster.close()
        for node in cluster.nodes.values() if keep else ():
            (keep / f"{node.name}.log").write_text(node.log())


def _remove(disks: dict[str, Disk]) -> None:
    for disk in disks.values():
        disk.remove()
