"""Clients that try again, as clients ordinarily do: what they ask for must come about.

An attempt that nobody took, that was answered with 503, or whose connection broke is made again at
the next node, for a bounded time. Each attempt is a call of its own in the history, with a value
of its own, so that what an attempt did is known whatever became of the others.
"""

import threading
import time
from dataclasses import dataclass, field
from typing import Final

from .cluster import DNS
from .traffic import POPULATION, ZONE, Client, Traffic
from .wire import Answer, ask_dns

PATIENCE_S: Final = 10.0
"""The least that a client's time limit is in practice; an election takes a second of it."""
PAUSE_S: Final = 0.05
PATIENT_TTL_S: Final = 60
"""Longer than any run: none may go."""
RESOLVER_S: Final = 1.0
"""glibc's resolver waits for five before it asks the next."""
RESOLVER_ROUNDS: Final = 2
"""glibc's `attempts`. One is too few where nodes restart within a second each: kernels limit how
often they say that a port is closed, so that a node which is down may just be silent."""
AGAIN: Final = (0, 503)
"""Statuses after which a call that can be repeated is repeated; 0 is no answer at all."""


@dataclass(slots=True)
class Patience:
    """What patient clients went through. `failed` says of each call that was given up why."""

    traffic: Traffic
    calls: int = 0
    repeated: int = 0
    longest_s: float = 0.0
    lookups: int = 0
    repeated_lookups: int = 0
    failed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """One client at each node, and on to the next when that one does not do it."""
        names = self.traffic.names
        for number, name in enumerate(names):
            nodes = names[number:] + names[:number]
            self.traffic.spawn(f"patient-{name}", self._live, nodes)

    def told(self) -> str:
        return (
            f"patient calls: {self.calls}, repeated: {self.repeated},"
            f" longest: {self.longest_s:.2f} s; patient lookups: {self.lookups},"
            f" repeated: {self.repeated_lookups}"
        )

    def _live(self, client: Client) -> None:
        number = 0
        while not self.traffic.calm.is_set():
            number += 1
            instance = f"patient/{client.name}-{number}"
            self._insist(client, "register", instance)
            self._insist(client, "renew", instance)
            self._insist(client, "write", f"p-{client.name}")
            self._insist(client, "read", f"p-{client.name}")
            self._look_up(client)
            if number % 2:
                self._insist(client, "deregister", instance)
            self.traffic.calm.wait(client.random.uniform(0.0, 0.05))

    def _insist(self, client: Client, kind: str, key: str) -> None:
        began = time.monotonic()
        attempts = 0
        while True:
            attempts += 1
            answer = attempt(client, self.traffic, kind, key)
            spent_s = time.monotonic() - began
            if is_done(answer, kind, attempts):
                break
            if answer.status not in AGAIN or spent_s > PATIENCE_S:
                with self._lock:
                    self.failed.append(
                        f"{kind} of {key} after {spent_s:.2f} s and {attempts} attempts:"
                        f" {answer.status} {answer.said}"
                    )
                break
            time.sleep(PAUSE_S)
        with self._lock:
            self.calls += 1
            self.repeated += attempts > 1
            self.longest_s = max(self.longest_s, spent_s)

    def _look_up(self, client: Client) -> None:
        """As a resolver with three servers does; the population is there all the time."""
        nodes = [self.traffic.cluster.nodes[name] for name in client.nodes]
        name = f"{POPULATION}.service.{ZONE}"
        told: list[tuple[int, int] | None] = []
        for node in nodes * RESOLVER_ROUNDS:
            told.append(ask_dns(node.address, DNS, name, RESOLVER_S))
            code, answers = told[-1] or (-1, 0)
            if code == 0 and answers:
                break
        else:
            with self._lock:
                self.failed.append(f"DNS: {len(nodes)} servers answered {told}")
        with self._lock:
            self.lookups += 1
            self.repeated_lookups += len(told) > 1


def is_done(answer: Answer, kind: str, attempts: int) -> bool:
    """What an earlier attempt without an answer removed is gone."""
    gone = kind == "deregister" and answer.status == 404 and attempts > 1
    return answer.outcome == "ok" or gone


def attempt(client: Client, traffic: Traffic, kind: str, key: str) -> Answer:
    """One call, recorded, with a value that no other has."""
    history, path = traffic.history, f"/v1/kv/{key}"
    value = f"{client.name}.{time.monotonic_ns()}!"
    if kind == "register":
        return client.register(history, key, ttl_s=PATIENT_TTL_S)
    if kind == "write":
        asked = client.call(kind, key, "PUT", path, value.encode(), value=value)
    elif kind == "read":
        return client.read(history, key, "strong")
    else:
        instance = f"/v1/services/{key.replace('/', '/instances/')}"
        method, tail = ("PUT", "/heartbeat") if kind == "renew" else ("DELETE", "")
        asked = client.call(kind, key, method, instance + tail)
    asked.record(history, output=lambda _: PATIENT_TTL_S if kind == "renew" else None)
    return asked.answer
