"""What clients did and saw: one record for each call, each event and each renewal, as JSON lines.

Times are nanoseconds of the machine's monotonic clock, which all clients share.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["ok", "fail", "unknown"]
"""`fail` means that the board said, in so many words, that nothing happened."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client. `kind`: read, write, cas, register, deregister or renew.

    `value` is what was asked to be stored (unique over the run), `expected` what a cas compared
    with, `output` what came back: the value of a read, whether a cas was done, the TTL in seconds
    of a renewal. `index` is the revision at which the board says that it happened.
    """

    client: str
    node: str
    kind: str
    key: str
    call_ns: int
    return_ns: int
    outcome: Outcome
    value: str | None = None
    expected: str | None = None
    output: Any = None
    index: int = 0
    said: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """What a watcher was told. `kind`: snapshot, put or delete.

    A snapshot's `listed` is the modify index of each key in it. `stream` counts the connections
    of the watcher, `resumed_from` is the index with which this one was opened, 0 for a fresh one.
    """

    watcher: str
    node: str
    stream: int
    kind: str
    index: int
    seen_ns: int
    key: str = ""
    reason: str = ""
    resumed_from: int = 0
    listed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change as the engine's own log has it."""

    key: str
    index: int
    kind: Literal["put", "delete"]
    value: bytes = b""


class History:
    """Everything of a run, in the order in which it was recorded, on disk too."""

    def __init__(self, path: Path | None = None) -> None:
        self.calls: list[Call] = []
        self.events: list[Event] = []
        self._lock = threading.Lock()
        self._file = path.open("w") if path else None

    def add(self, record: Call | Event) -> None:
        with self._lock:
            kept: list[Any] = self.calls if isinstance(record, Call) else self.events
            kept.append(record)
            if self._file:
                line = {"record": type(record).__name__, **asdict(record)}
                self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        if self._file:
            self._file.close()

    def of(self, *kinds: str, outcome: Outcome | None = None) -> list[Call]:
        return [
            call
            for call in self.calls
            if call.kind in kinds and (outcome is None or call.outcome == outcome)
        ]

    def ok_between(self, start_ns: int, end_ns: int) -> int:
        """How many calls other than renewals succeeded within the time."""
        return sum(
            call.outcome == "ok" and call.kind != "renew" and start_ns <= call.return_ns < end_ns
            for call in self.calls
        )


def read_back(path: Path) -> History:
    """A recorded history."""
    history = History()
    for record in _lines(path):
        made = Call if record.pop("record") == "Call" else Event
        history.add(made(**record))
    return history


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as file:
        yield from map(json.loads, file)
