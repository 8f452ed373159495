"""What a failed gRPC call says of a write: certainly not applied, or nobody knows.

Sorted by etcd's own messages first, because one gRPC code stands for both kinds. Whatever is not
known to be harmless counts as unknown.
"""

from typing import Final

from ..seam import EngineError, OutcomeUnknown, Refused
from .rpc import NotSent, RpcError, StatusCode


class NotReached(Refused):
    """Nobody took the call: another member or another moment may do better."""


class Unwritable(Refused):
    """No write is taken until somebody has mended it."""


class Full(Unwritable):
    """The first transaction over the quota is applied, and refused all the same; those after it
    are not applied."""


class Unsettled(Refused):
    """Members are not changed while some of them are away, or have only just come."""


class TokenRejected(Refused):
    """The token has run out, or its server was started anew: authenticate again."""


_AWAY: Final = "etcd at {at} cannot be reached"
_SAYS: Final = "etcd at {at}: {details}"
_TOO_LARGE: Final = "the write is larger than etcd takes (--max-request-bytes)"

_KNOWN: Final[tuple[tuple[str, type[EngineError], str], ...]] = (
    # Said before anything is proposed, because every call asks for a leader (`hasleader`).
    ("etcdserver: no leader", NotReached, "etcd has no leader: too few of its members are there"),
    ("not supported for learner", NotReached, "etcd at {at} has not caught up with the others yet"),
    ("invalid auth token", TokenRejected, _SAYS),
    ("revision in header is old", TokenRejected, _SAYS),
    ("user name is empty", TokenRejected, "etcd at {at} wants to know its users: --etcd-user"),
    ("authentication failed", Unwritable, "etcd at {at} does not know this user and password"),
    ("authentication is not enabled", Unwritable, "etcd at {at} has no users: no --etcd-user"),
    # etcd gave up waiting for what it had proposed already.
    ("request timed out", OutcomeUnknown, _SAYS),
    ("leader changed", OutcomeUnknown, _SAYS),
    ("server stopped", OutcomeUnknown, _SAYS),
    ("request cancelled", OutcomeUnknown, _SAYS),
    (
        "database space exceeded",
        Full,
        "etcd's database is full (NOSPACE): compact, defragment and disarm its alarm",
    ),
    (
        "permission denied",
        Unwritable,
        "etcd denies this user the keys under the prefix: grant it readwrite",
    ),
    ("unhealthy cluster", Unsettled, "not all members are there, or some have only just come"),
    ("request is too large", Refused, _TOO_LARGE),
    # Go's server looks at the length before it reads the message.
    ("grpc: received message larger than max", Refused, _TOO_LARGE),
    ("etcdserver: ", Refused, _SAYS),
    ("auth: ", Refused, _SAYS),
)
"""Part of the details, what it is, and what people are told; the first that is found counts."""


def read_error(error: RpcError, endpoint: str) -> EngineError:
    """The error to raise for a call that failed at `endpoint`."""
    if isinstance(error, NotSent):
        return NotReached(_AWAY.format(at=endpoint))
    for text, kind, told in _KNOWN:
        if text in error.details:
            return kind(told.format(at=endpoint, details=error.details))
    if error.code == StatusCode.DEADLINE_EXCEEDED:
        return OutcomeUnknown(f"etcd at {endpoint} did not answer in time")
    details = error.details or error.code.name
    return OutcomeUnknown(f"the call to etcd at {endpoint} broke off: {details}")
