"""Clients of a cluster under faults. Each is a thread beside the nodes, sequential, and honest
about what it does not know; what they do is drawn from a seed.

- *registers*: a few KV keys that all clients read (strong), write and compare-and-set;
- *arrivals*: registrations that never expire, some of them taken off again;
- *population*: a steady set of leases renewed through all nodes in turn, one call or batches;
- *mortals*: short leases that nobody renews;
- *watchers*: server-sent events, resumed wherever they broke off;
- *askers*: DNS, for the population.
"""

import base64
import contextlib
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from .cluster import DNS, HTTP, Cluster
from .history import Call, Event, History
from .wire import Answer, Connection, ask_dns

TIMEOUT_S: Final = 3.0
"""What clients wait: longer than an election, so that most outcomes are known."""
KEYS: Final = 4
"""Few: clients are to meet on them."""
NEVER_S: Final = 1e9
"""The TTL that counts for leases that never end."""
STEADY_TTL_S: Final = 6
STEADY_PER_NODE: Final = 3
"""With three nodes nine leases: fewer than the mass-expiry guard looks at."""
RENEW_S: Final = 0.5
MORTAL_TTL_S: Final = 2
MORTAL_EVERY_S: Final = 2.0
"""Five in the window of the guard against mass expiry, which holds back more than ten: those that
outlive a keeper run out together under the next one."""
POPULATION: Final = "steady"
ZONE: Final = "callboard.internal"


class Traffic:
    """`start()`, then faults, then `settle()`; renewals and watches go on until `stop()`."""

    def __init__(
        self, cluster: Cluster, history: History, seed: int, reads: str = "strong"
    ) -> None:
        self.cluster, self.history, self.seed = cluster, history, seed
        self._reads = reads
        self.names = list(cluster.nodes)
        self.calm = threading.Event()
        """Set: no new writes."""
        self.ended = threading.Event()
        self.asked = self.unanswered = 0
        self._threads: list[threading.Thread] = []
        self.healed_ns = 0
        self.watched: dict[str, int] = {}
        self.mortals: dict[str, int] = {}
        """When each was last known to be wanted, in nanoseconds."""
        self.errors: list[str] = []

    def start(self) -> None:
        for number, name in enumerate(self.names):
            self.spawn(f"register-{name}", self._registers, [name])
            self.spawn(f"arrive-{name}", self._arrivals, [name])
            self.spawn(
                f"steady-{name}", self._population, self.names[number:] + self.names[:number]
            )
            self.spawn(f"watch-{name}", self._watcher, self.names[number:] + self.names[:number])
            self.spawn(f"ask-{name}", self._asker, [name])
        self.spawn("register-all", self._registers, self.names)
        self.spawn("mortal", self._mortals, self.names)

    def spawn(self, client: str, body: Callable[["Client"], None], nodes: list[str]) -> None:
        """One more client in a thread of its own; `nodes` in the order in which it asks them."""

        def run() -> None:
            self.cluster.ground.stand_with_clients()
            rng = random.Random(f"{self.seed} {client}")
            try:
                with contextlib.closing(Client(client, self.cluster, nodes, rng)) as made:
                    body(made)
            except Exception as error:
                self.errors.append(f"{client}: {error!r}")
                raise

        thread = threading.Thread(target=run, name=client, daemon=True)
        self._threads.append(thread)
        thread.start()

    def settle(self) -> None:
        """No new writes; those under way end."""
        self.calm.set()
        kinds = ("register", "arrive", "mortal", "patient")
        for thread in self._threads:
            if thread.name.startswith(kinds):
                thread.join(4 * TIMEOUT_S)

    def stop(self) -> None:
        self.calm.set()
        self.ended.set()
        for thread in self._threads:
            thread.join(4 * TIMEOUT_S)
        assert not any(thread.is_alive() for thread in self._threads)

    def steady_keys(self) -> list[str]:
        return [f"{POPULATION}/{name}-{n}" for name in self.names for n in range(STEADY_PER_NODE)]

    def _registers(self, client: "Client") -> None:
        number = 0
        last: dict[str, tuple[str | None, int]] = {}
        while not self.calm.is_set():
            number += 1
            key = f"r{client.random.randrange(KEYS)}"
            value = f"{client.name}.{number}!"
            draw = client.random.random()
            if draw < 0.45 or (draw > 0.75 and key not in last):
                read = _value_and_index(client.read(self.history, key, self._reads))
                if read is not None:
                    last[key] = read
            elif draw < 0.75:
                client.call("write", key, "PUT", f"/v1/kv/{key}", value.encode(), value=value)
            else:
                expected, index = last.pop(key)
                path = f"/v1/kv/{key}?cas={index}"
                client.call(
                    "cas", key, "PUT", path, value.encode(), value=value, expected=expected
                ).record(self.history, output=lambda answer: answer.body is True)
            client.flush(self.history)
            self.calm.wait(client.random.uniform(0.005, 0.06))

    def _arrivals(self, client: "Client") -> None:
        number = 0
        present: list[str] = []
        while not self.calm.is_set():
            number += 1
            if present and client.random.random() < 0.3:
                key = present.pop(client.random.randrange(len(present)))
                path = f"/v1/services/{key.replace('/', '/instances/')}"
                client.call("deregister", key, "DELETE", path).record(self.history)
            else:
                key = f"arrivals-{client.random.randrange(3)}/{client.name}-{number}"
                if client.register(self.history, key, ttl_s=0).outcome == "ok":
                    present.append(key)
            self.calm.wait(client.random.uniform(0.02, 0.1))

    def _mortals(self, client: "Client") -> None:
        number = 0
        while not self.calm.is_set():
            number += 1
            key = f"mortals/m-{number}"
            client.register(self.history, key, ttl_s=MORTAL_TTL_S)
            self.mortals[key] = time.monotonic_ns()
            client.move()
            self.calm.wait(MORTAL_EVERY_S)

    def _population(self, client: "Client") -> None:
        keys = [f"{POPULATION}/{client.nodes[0]}-{n}" for n in range(STEADY_PER_NODE)]
        missing = set(keys)
        while not self.ended.is_set():
            for key in sorted(missing):
                if client.register(self.history, key, ttl_s=STEADY_TTL_S).outcome == "ok":
                    missing.discard(key)
            renewed = self._renew_all(client, [key for key in keys if key not in missing])
            missing |= renewed[1]
            if renewed[0]:  # otherwise it has moved on already
                client.move()
            if renewed[0] and not missing:
                self.ended.wait(client.random.uniform(0.8, 1.2) * RENEW_S)
            else:
                self.ended.wait(0.1)

    def _renew_all(self, client: "Client", keys: list[str]) -> tuple[bool, set[str]]:
        """Whether the node answered, and what it does not know any more."""
        if not keys:
            return True, set()
        if client.random.random() < 0.5:
            body = {"instances": [key.split("/") for key in keys]}
            asked = client.call("renew", "", "POST", "/v1/heartbeats", body)
            answer = asked.answer
            rows = answer.body["unknown"] if answer.outcome == "ok" else []
            unknown = {"/".join(row) for row in rows}
            for key in keys:
                outcome = "fail" if key in unknown else answer.outcome
                said = "unknown_instance" if key in unknown else answer.said
                asked.record(
                    self.history,
                    key=key,
                    outcome=outcome,
                    said=said,
                    output=lambda _: STEADY_TTL_S,
                )
            return answer.outcome == "ok", unknown
        unknown = set()
        for key in keys:
            path = f"/v1/services/{key.replace('/', '/instances/')}/heartbeat"
            asked = client.call("renew", key, "PUT", path)
            asked.record(self.history, output=lambda _: STEADY_TTL_S)
            if asked.answer.said == "unknown_instance":
                unknown.add(key)
            elif asked.answer.outcome != "ok":
                return False, unknown
        return True, unknown

    def _asker(self, client: "Client") -> None:
        """Once a node has answered, it must not deny what is there as long as it lives."""
        node = self.cluster.nodes[client.node]
        time.sleep(1)
        while not self.ended.wait(0.05):
            began = time.monotonic_ns()
            told = ask_dns(node.address, DNS, f"{POPULATION}.service.{ZONE}", 0.5)
            self.asked += 1
            self.unanswered += told is None
            if told is not None:
                done = time.monotonic_ns()
                self.history.add(
                    Call(client.name, node.name, "ask", POPULATION, began, done, "ok", output=told)
                )

    def _watcher(self, client: "Client") -> None:
        last, stream = 0, 0
        self.watched[client.name] = 0
        while not self.ended.is_set():
            node = self.cluster.nodes[client.node]
            heard = _Heard(client, stream, last)
            try:
                with contextlib.closing(_events(node.address, last, self.ended)) as events:
                    for event in events:
                        for told in heard.told(event):
                            self.history.add(told)
                        self.watched[client.name] = last = heard.last
            except (OSError, http.client.HTTPException, ValueError):
                pass
            stream += 1
            client.move()
            self.ended.wait(0.1)


class _Heard:
    """One stream: an id that stands still belongs to a change of the next index, which the last
    of that index names. What of it came before the stream broke is told again by the next."""

    def __init__(self, client: "Client", stream: int, last: int) -> None:
        self.last = last
        self._client, self._stream = client, stream
        self._pending: list[Event] = []

    def told(self, event: dict[str, Any]) -> list[Event]:
        kind, index, data = event["event"], int(event["id"]), json.loads(event["data"])
        now = time.monotonic_ns()
        made = partial(Event, self._client.name, self._client.node, self._stream, kind, index, now)
        if kind == "snapshot":
            listed = {_key_of(one): one["modify_index"] for one in data["instances"]}
            self.last = index
            return [made(listed=listed)]
        reason = data.get("reason", "")
        self._pending.append(made(_key_of(data), reason, resumed_from=self.last))
        if index == self.last:
            return []
        whole, self._pending = self._pending, []
        self.last = index
        return [replace(one, index=index) for one in whole]


class Client:
    """One sequential client; calls go to `node`, the first of its nodes until it moves on."""

    def __init__(
        self, name: str, cluster: Cluster, nodes: Iterable[str], rng: random.Random
    ) -> None:
        self.name, self.nodes, self.random = name, list(nodes), rng
        self._cluster = cluster
        self._connections = {
            node: Connection(cluster.nodes[node].address, HTTP, TIMEOUT_S) for node in self.nodes
        }
        self._at = 0
        self._waiting: Asked | None = None

    @property
    def node(self) -> str:
        return self.nodes[self._at % len(self.nodes)]

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def move(self) -> None:
        self._at += 1

    def call(
        self,
        kind: str,
        key: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        value: str | None = None,
        expected: str | None = None,
    ) -> "Asked":
        began = time.monotonic_ns()
        answer = self._connections[self.node].ask(method, path, body)
        ended = time.monotonic_ns()
        self._waiting = Asked(self, kind, key, value, expected, began, ended, answer, self.node)
        if answer.outcome != "ok" and answer.status != 404 and len(self.nodes) > 1:
            self.move()
        return self._waiting

    def flush(self, history: History) -> None:
        """Record the last call if nobody has."""
        if self._waiting is not None:
            self._waiting.record(history)

    def read(self, history: History, key: str, consistency: str) -> Answer:
        """Of the KV store; that there is none is an answer too."""
        asked = self.call("read", key, "GET", f"/v1/kv/{key}?consistency={consistency}")
        if asked.answer.said == "unknown_key":
            asked.record(history, outcome="ok", output=lambda _: None)
        else:
            asked.record(history, output=_value_read)
        return asked.answer

    def register(self, history: History, key: str, *, ttl_s: float) -> Answer:
        token = f"{self.name}.{key}.{self.random.randrange(1 << 40)}!"
        body = {"address": "10.1.2.3", "port": 80, "ttl": ttl_s, "meta": {"token": token}}
        path = f"/v1/services/{key.replace('/', '/instances/')}"
        asked = self.call("register", key, "PUT", path, body, value=token)
        asked.record(history, output=lambda _: ttl_s or NEVER_S)
        return asked.answer


class Asked:
    """A call that has been answered, to be recorded once its meaning is known."""

    def __init__(
        self,
        client: Client,
        kind: str,
        key: str,
        value: str | None,
        expected: str | None,
        began: int,
        ended: int,
        answer: Answer,
        node: str,
    ) -> None:
        self.answer = answer
        self._client, self._kind, self._key = client, kind, key
        self._value, self._expected = value, expected
        self._began, self._ended, self._node = began, ended, node

    def record(
        self,
        history: History,
        *,
        key: str | None = None,
        outcome: Any = None,
        said: str | None = None,
        output: Callable[[Answer], Any] | None = None,
    ) -> None:
        self._client._waiting = None
        answer = self.answer
        outcome = outcome or answer.outcome
        index = answer.body.get("modify_index", 0) if isinstance(answer.body, dict) else 0
        history.add(
            Call(
                self._client.name,
                self._node,
                self._kind,
                key or self._key,
                self._began,
                self._ended,
                outcome,
                self._value,
                self._expected,
                output(answer) if output and outcome == "ok" else None,
                index,
                answer.said if said is None else said,
            )
        )


def _value_and_index(answer: Answer) -> tuple[str | None, int] | None:
    """What a compare-and-set may compare with; None when the read told nothing."""
    if answer.said == "unknown_key":
        return None, 0
    return (_value_read(answer), answer.body[0]["ModifyIndex"]) if answer.outcome == "ok" else None


def _value_read(answer: Answer) -> str:
    return base64.b64decode(answer.body[0]["Value"]).decode()


def _key_of(instance: dict[str, Any]) -> str:
    return f"{instance['service']}/{instance['id']}"


def _events(
    address: str, since: int, ended: threading.Event
) -> Generator[dict[str, Any], None, None]:
    """One stream until it breaks, or is silent for as long as a ping may take."""
    client = http.client.HTTPConnection(address, HTTP, timeout=TIMEOUT_S)
    with contextlib.closing(client):
        client.request("GET", "/v1/watch", headers={"Last-Event-ID": str(since)} if since else {})
        with client.getresponse() as response:
            if response.status == 200:
                yield from _parsed(response, ended)


def _parsed(
    response: http.client.HTTPResponse, ended: threading.Event
) -> Generator[dict[str, Any], None, None]:
    event: dict[str, Any] = {}
    while not ended.is_set():
        line = response.readline().decode()
        if not line.endswith("\n"):
            return
        name, _, value = line.rstrip("\n").partition(": ")
        if name in ("id", "event", "data"):
            event[name] = value
        elif not name and event:
            yield event
            event = {}
