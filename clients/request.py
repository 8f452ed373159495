"""A call as a value: what to ask, whether it may be asked again, what its answer means."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ..durations import parse_duration_s
from .errors import CallboardError, InvalidArgument, UnexpectedAnswer, error_for

RETRY_AFTER_S_MAX: Final = 60.0
"""A server that says more is kept waiting no longer than this."""

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", re.ASCII)

T = TypeVar("T")


class Answer(NamedTuple):
    """A whole HTTP response; header names compare without case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One call. `path` and `query` are encoded; `decode` reads an answer below 400."""

    method: str
    path: str
    decode: Callable[[Answer], T]
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    repeatable: bool = True
    """Whether doing it twice is the same as doing it once."""
    missing: Callable[[], T] | None = None
    """What a 404 stands for, where that is no error."""
    missing_after_repeat: Callable[[], T] | None = None
    """The same, when an attempt before this one may already have done it."""

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def target(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


def interpret(request: Request[T], answer: Answer, *, repeated: bool = False) -> T:
    """The typed result. Raises the `CallboardError` that the answer stands for."""
    if answer.status == 404:
        missing = request.missing or (request.missing_after_repeat if repeated else None)
        if missing is not None:
            return missing()
    if answer.status >= 400:
        raise _error(answer)
    if answer.status >= 300:
        raise UnexpectedAnswer(
            f"the server sends us elsewhere ({answer.status}): name the right one",
            status=answer.status,
        )
    try:
        return request.decode(answer)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnexpectedAnswer(
            f"the answer to {request.method} {request.path} is not callboard's: {error}",
            status=answer.status,
        ) from error


def _error(answer: Answer) -> CallboardError:
    try:
        body = msgspec.json.decode(answer.body, type=dict[str, Any])["error"]
    except (msgspec.MsgspecError, KeyError):
        body = {}
    return error_for(
        answer.status,
        body if isinstance(body, dict) else {},
        _retry_after_s(answer.headers.get("Retry-After", "")),
    )


def _retry_after_s(text: str) -> float | None:
    """Seconds only: callboard sends no dates, and a wrong clock would make them harmful."""
    return min(float(text), RETRY_AFTER_S_MAX) if re.fullmatch(r"\d{1,6}(\.\d+)?", text) else None


def segment(name: str, field: str) -> str:
    """A name in a path: checked here, because `..` would lead to another call altogether."""
    if _NAME.fullmatch(name) is None:
        raise InvalidArgument(
            f"{field}: {name!r} is no name: use 1-63 letters, digits, '-' and '_'", field=field
        )
    return quote(name, safe="")


def duration_s(value: float | str, field: str) -> float:
    """Raises `InvalidArgument` that names `field`."""
    try:
        return parse_duration_s(value)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"{field}: {error}", field=field) from error
