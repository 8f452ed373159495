"""A few rows of the matrix against real nodes, and proof that the verdict can be `no`.

`make faults` runs all rows.
"""

import os
from dataclasses import replace

import pytest

from .history import History
from .rows import ROWS, ways
from .run import run
from .verdict import faults_in

SEED = 20
SHORT = ["kill-leader", "leader-alone", "pause-keeper", "power-cut-of-all"]
"""One of each kind; each takes about 15 s."""


def required(why):
    if os.environ.get("CI") == "true":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


@pytest.fixture(autouse=True)
def programs(require):
    require("etcd", "etcdctl", "ip", "iptables", "nsenter", "setpriv", "mkfs.ext4")


@pytest.fixture(scope="module")
def outcomes():
    return {}


@pytest.fixture
def run_row(tmp_path, outcomes):
    """Each row with each sort of reads runs once for all tests."""

    def start(name, **options):
        wanted = name, *options.items()
        if wanted not in outcomes:
            outcomes[wanted] = run(ROWS[name], SEED, ways()[0], tmp_path, **options)
        if outcomes[wanted].skipped:
            required(outcomes[wanted].skipped)
        return outcomes[wanted]

    return start


@pytest.mark.parametrize("row", SHORT)
def test_a_cluster_keeps_its_promises(row, run_row):
    assert run_row(row).faults == {}


def test_stale_reads_beside_a_partition_are_found(run_row):
    """The same clients, told to read each node's own copy: the harness must notice."""
    outcome = run_row("follower-alone", reads="stale")
    assert "illegal" in outcome.faults["linearizable"][0]
    assert set(outcome.faults) == {"linearizable"}


class TestAlteredEvidence:
    """What a real run left behind, with one thing changed, is no longer accepted."""

    @pytest.fixture
    def evidence(self, run_row):
        evidence = run_row("kill-leader").evidence
        assert faults_in(evidence) == {}
        return evidence

    def altered(self, evidence, *, calls=None, events=None):
        history = History()
        history.calls = evidence.history.calls if calls is None else calls
        history.events = evidence.history.events if events is None else events
        return replace(evidence, history=history)

    def test_an_acknowledged_registration_that_the_log_forgot(self, evidence):
        registered = next(c for c in evidence.history.of("register", outcome="ok") if c.index)
        log = [change for change in evidence.log if change.index != registered.index]
        assert {"durable", "watches"} <= set(faults_in(replace(evidence, log=log)))

    def test_a_node_that_shows_less_than_the_others(self, evidence):
        states = {name: dict(state) for name, state in evidence.states.items()}
        states["b"].popitem()
        assert "one catalog" in faults_in(replace(evidence, states=states))

    def test_a_read_that_goes_back(self, evidence):
        calls = list(evidence.history.calls)
        read = max(n for n, c in enumerate(calls) if c.kind == "read" and c.outcome == "ok")
        key = calls[read].key
        first = next(c for c in calls if c.kind == "write" and c.key == key and c.outcome == "ok")
        calls[read] = replace(calls[read], output=first.value)
        assert "linearizable" in faults_in(self.altered(evidence, calls=calls))

    def test_an_event_that_never_came(self, evidence):
        events = list(evidence.history.events)
        at = next(n for n, e in enumerate(events) if n > len(events) // 2 and e.kind == "put")
        del events[at]
        assert "watches" in faults_in(self.altered(evidence, events=events))

    def test_a_lease_that_ended_early(self, evidence):
        renewed = evidence.history.of("renew", outcome="ok")[0]
        told = replace(
            renewed, outcome="fail", said="unknown_instance", return_ns=renewed.return_ns + 1
        )
        calls = [*evidence.history.calls, told]
        assert "leases kept" in faults_in(self.altered(evidence, calls=calls))

    def test_a_dead_registration_that_stayed(self, evidence):
        events = [e for e in evidence.history.events if not e.key.startswith("mortals/")]
        assert "leases ended" in faults_in(self.altered(evidence, events=events))
