"""The attempts of one call: whom to ask next, how long, when to wait, and what to give up with.

In one round each server is asked once. Only a server that asks for patience (503 or 429 with the
call repeatable) makes a next round; when none can be reached, the call ends at once, so that its
caller can decide. What may be repeated:

  nothing was sent          any call
  sent, no answer           a repeatable call
  503, 429, 502, 504        a repeatable call
"""

from typing import Final, NamedTuple

from .backoff import Backoff
from .endpoints import Endpoints, shown
from .errors import CallboardError, NoServerAnswered, OutcomeUnknown, TimedOut, Unavailable

ATTEMPT_S_MIN: Final = 1.0
"""A healthy server answers within this; less would pass over one that is merely busy."""


class Try(NamedTuple):
    """Ask `server`, with so long to connect and so long in all."""

    server: str
    connect_s: float
    total_s: float


class Wait(NamedTuple):
    seconds: float


class Attempts:
    """Ask `next`, do it, tell how it went with one of the other methods, ask again."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        writes: bool,
        repeatable: bool,
        timeout_s: float,
        now: float,
        backoff: Backoff,
    ) -> None:
        self._endpoints = endpoints
        self._writes = writes
        self._repeatable = repeatable
        self._timeout_s = timeout_s
        self._deadline = now + timeout_s
        self._backoff = backoff
        self._round = endpoints.in_order(now)
        self._failures: dict[str, str] = {}
        self._cause: BaseException | None = None
        self._refusal: Unavailable | None = None
        self._out_of_time = False
        self.maybe_done = False
        """Whether an attempt was sent whose outcome nobody knows."""

    def next(self, now: float) -> Try | Wait:
        """Raises the `CallboardError` that ends the call."""
        left_s = self._deadline - now
        if left_s <= 0:
            self._out_of_time = True
            raise self._end() from self._cause
        if self.maybe_done and not self._repeatable:
            raise self._end() from self._cause
        if self._round:
            share_s = max(left_s / len(self._round), min(ATTEMPT_S_MIN, left_s))
            return Try(self._round.pop(0), share_s, share_s if self._repeatable else left_s)
        return self._next_round(now, left_s)

    def _next_round(self, now: float, left_s: float) -> Wait:
        if self._refusal is None or not self._repeatable:
            raise self._end() from self._cause
        # Who asks for no patience at all (0) is not called without a pause, either.
        wait_s = self._refusal.retry_after_s or self._backoff.next_s()
        if wait_s >= left_s:
            raise self._end() from self._cause
        self._refusal = None
        self._round = self._endpoints.in_order(now)
        return Wait(wait_s)

    def unsent(self, server: str, reason: str, now: float, cause: BaseException) -> None:
        """The server could not be reached."""
        self._failed(server, reason, now, cause)

    def unanswered(self, server: str, reason: str, now: float, cause: BaseException) -> None:
        """The connection broke, or the time for this attempt was over."""
        self.maybe_done = self.maybe_done or self._writes
        self._failed(server, reason, now, cause)

    def _failed(self, server: str, reason: str, now: float, cause: BaseException) -> None:
        self._endpoints.failed(server, now)
        self._failures[shown(server)] = reason
        self._cause = cause
        self._out_of_time = isinstance(cause, TimeoutError)

    def refused(self, server: str, error: CallboardError, now: float) -> None:
        """The server cannot do it now. Raises `error` when asking again could do harm."""
        if not self._repeatable:
            raise error
        self._endpoints.failed(server, now)
        self._failures[shown(server)] = error.message
        self._cause = error
        if isinstance(error, OutcomeUnknown):
            self.maybe_done = True
            error = Unavailable(error.message, code=error.code, status=error.status)
        assert isinstance(error, Unavailable)
        self._refusal = error

    def answered(self, server: str) -> None:
        self._endpoints.answered(server)

    def _end(self) -> CallboardError:
        if self.maybe_done:
            status = self._refusal.status if self._refusal else None
            told = "; ".join(f"{server}: {why}" for server, why in self._failures.items())
            return OutcomeUnknown(
                f"no answer came, it may have been done ({told}): read before you repeat it",
                code="outcome_unknown",
                status=status,
            )
        if self._refusal is not None:
            return self._refusal
        if self._out_of_time:
            told = "; ".join(f"{server}: {why}" for server, why in self._failures.items())
            return TimedOut(f"no answer within {self._timeout_s:g} s ({told or 'no time left'})")
        return NoServerAnswered(self._failures)
