"""What was committed, from the engine's own log; and what each node shows."""

import base64
import json
import subprocess
from typing import Any

from .cluster import Cluster, Node, NotLive
from .history import Change

PREFIX = b"callboard/"
PAIRS = PREFIX + b"b/"
SHOWN = (PAIRS + b"i/", PAIRS + b"k/")
"""What users see of them; a node that renews through the engine writes a pair of its own."""
MARK = "faults/mark"
"""A key beside the board's: a watch that has seen it has seen everything before it."""


class Oracle:
    """Reads the log of the etcd below; `read` adds what has come since, so that a compaction in
    the middle of a run loses nothing."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._next = 1
        self.log: list[Change] = []
        self.keeper_changes = 0

    def read(self, node: Node | None = None) -> list[Change]:
        node = node or next(iter(self._cluster.nodes.values()))
        node.etcdctl("put", MARK, str(self._next))
        for answer in _watched(node, self._next):
            for event in answer["Events"] or []:
                self._take(event)
        return self.log

    def _take(self, event: dict[str, Any]) -> None:
        pair = event["kv"]
        key = base64.b64decode(pair["key"])
        index = pair["mod_revision"]
        self._next = index + 1
        put = event.get("type", 0) == 0
        if key == PREFIX + b"keeper" and put:
            self.keeper_changes += 1
        if key.startswith(SHOWN):
            name = shown_key(key.removeprefix(PAIRS))
            value = base64.b64decode(pair.get("value", ""))
            self.log.append(Change(name, index, "put" if put else "delete", value))


def shown_key(key: bytes) -> str:
    """As histories name it: `SERVICE/ID` in the default namespace, or the key of the KV store."""
    kind, _, rest = key.decode().partition("/")
    return rest.partition("/")[2] if kind == "i" else rest


def _watched(node: Node, start: int) -> list[dict[str, Any]]:
    """Answers of a watch, up to the mark that was put last."""
    command = [
        *(*node.ground.inside(node.name), "etcdctl", f"--endpoints={node.endpoint()}"),
        *("watch", "", "--prefix", f"--rev={start}", "--write-out=json"),
    ]
    mark = base64.b64encode(MARK.encode()).decode()
    answers = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"ETCDCTL_API": "3", "PATH": _path()},
    ) as watching:
        assert watching.stdout is not None
        try:
            for line in watching.stdout:
                answer = json.loads(line)
                if answer.get("CompactRevision"):
                    raise NotLive(f"the log before {answer['CompactRevision']} is gone")
                answers.append(answer)
                keys = [event["kv"]["key"] for event in answer["Events"] or []]
                if mark in keys:
                    return answers
        finally:
            watching.kill()
    raise NotLive(f"the watch of etcd at {node.name} ended before its mark")


def _path() -> str:
    import os

    return os.environ["PATH"]


def shown_by(node: Node) -> tuple[int, dict[str, int]]:
    """The index, and the modify index of every registration and KV pair that the node shows."""
    state: dict[str, int] = {}
    status, pairs = node.ask("GET", "/v1/kv/?recurse", timeout_s=10)
    assert status in (200, 404), pairs
    for pair in pairs if status == 200 else []:
        state[pair["Key"]] = pair["ModifyIndex"]
    _, services = node.ask("GET", "/v1/services", timeout_s=10)
    for service in services["services"]:
        _, listed = node.ask("GET", f"/v1/services/{service}/instances", timeout_s=10)
        for one in listed["instances"]:
            state[f"{one['service']}/{one['id']}"] = one["modify_index"]
    index = node.ask("GET", "/v1/status")[1]["index"]
    return index, state
