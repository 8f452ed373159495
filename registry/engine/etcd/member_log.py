"""What a member of etcd writes on its standard error, as log records."""

import json
import logging
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

LINE_BYTES_MAX: Final = 64 * 1024
"""A line of etcd's is some hundred bytes; a panic's stack comes in lines of their own."""

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.DEBUG,  # etcd tells at "info" what only its developers ask
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "dpanic": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_ORDINARY: Final = ("established TCP streaming", "stopped TCP streaming")
"""What etcd warns of although it belongs to every start and stop of a member."""
_CRASHES: Final = ("panic: ", "fatal error: ", "runtime: out of memory")
"""How Go begins to say that the process ends; many lines of stacks follow."""
_NOT_TOLD: Final = frozenset({"level", "ts", "caller", "msg", "stacktrace"})


class Line(NamedTuple):
    level: int
    text: str


def read_line(raw: bytes) -> Line:
    """A JSON line of its logger, or whatever else it wrote (a panic of Go's)."""
    text = raw.decode("utf-8", "replace").rstrip()
    try:
        fields = json.loads(text)
    except ValueError:
        return Line(logging.CRITICAL if text.startswith(_CRASHES) else logging.ERROR, text)
    if not isinstance(fields, dict):
        return Line(logging.ERROR, text)
    level = _LEVELS.get(str(fields.get("level")), logging.INFO)
    details = ", ".join(f"{key} {_short(fields[key])}" for key in fields if key not in _NOT_TOLD)
    message = str(fields.get("msg", ""))
    if message.startswith(_ORDINARY):
        level = logging.DEBUG
    return Line(level, f"{message} ({details})" if details else message)


def cause(known: Line | None, said: Line) -> Line | None:
    """What to tell of an end that may follow: the last complaint, and nothing that is written
    after a crash."""
    if said.level < logging.WARNING or (known is not None and known.level == logging.CRITICAL):
        return known
    return said


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


class Lines:
    """Cuts a stream into lines; what is longer than a line may be is cut, not kept."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        yield from filter(None, whole)
        if len(self._rest) > LINE_BYTES_MAX:
            yield self._rest
            self._rest = b""
