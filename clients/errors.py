"""What a call can end in, by what the caller can do about it.

`CallboardError`
  `Unavailable`      nothing was done: try again later
    `NoServerAnswered`  none of the servers could be reached
  `TimedOut`         no answer within the timeout, and nothing was written: try again
  `OutcomeUnknown`   it may or may not have been done: read before you repeat it
  `NotFound`         there is no such thing
  `Conflict`         somebody else was first: read, then decide
  `InvalidArgument`  the call itself is wrong: change it
    `TooLarge`
  `UnexpectedAnswer` the server is not one, or has a fault: look at its log

aiohttp and socket errors never come out; they are the `__cause__`.
"""

from collections.abc import Mapping
from typing import Any


class CallboardError(Exception):
    """The root. `status` is the HTTP status, None when no server had a say in it."""

    def __init__(self, message: str, *, code: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status


class Unavailable(CallboardError):
    """Nothing was done. `retry_after_s` is when the server suggests to try again."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code, status=status)
        self.retry_after_s = retry_after_s


class NoServerAnswered(Unavailable):
    """None of the servers could be reached; `failures` says why, by server."""

    def __init__(self, failures: Mapping[str, str]) -> None:
        told = "; ".join(f"{server}: {reason}" for server, reason in failures.items())
        super().__init__(f"no server answered ({told})", code="no_server")
        self.failures = dict(failures)


class TimedOut(CallboardError):
    """The time was over; nothing was written by the call."""


class OutcomeUnknown(CallboardError):
    """The call may or may not have taken effect."""


class NotFound(CallboardError):
    """`code` says what is missing, for example `unknown_instance`."""


class Conflict(CallboardError):
    """A condition did not hold, or the thing is there already."""


class InvalidArgument(CallboardError):
    """`field` is the path of the wrong value in the request."""

    def __init__(
        self, message: str, *, field: str = "", code: str = "", status: int | None = None
    ) -> None:
        super().__init__(message, code=code, status=status)
        self.field = field


class TooLarge(InvalidArgument):
    """A registration or a value over the server's limit."""


class UnexpectedAnswer(CallboardError):
    """Not what the API promises: another program on that port, or a fault in the server."""


def error_for(status: int, body: Mapping[str, Any], retry_after_s: float | None) -> CallboardError:
    """The error that an answer of 400 and more stands for; `body` is its `error` object."""
    code, field = str(body.get("code", "")), str(body.get("field") or "")
    message = str(body.get("message") or f"the server answered {status}")
    match status:
        case 404 | 410:
            return NotFound(message, code=code, status=status)
        case 409 | 412:
            return Conflict(message, code=code, status=status)
        case 413:
            return TooLarge(message, field=field, code=code, status=status)
        case 503 if code == "outcome_unknown":
            return OutcomeUnknown(message, code=code, status=status)
        case 429 | 502 | 503 | 504:
            return Unavailable(message, code=code, status=status, retry_after_s=retry_after_s)
        case _ if 400 <= status < 500:
            return InvalidArgument(message, field=field, code=code, status=status)
        case _:
            return UnexpectedAnswer(message, code=code, status=status)
