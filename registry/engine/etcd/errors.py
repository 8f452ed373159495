"""What a failed gRPC call says of a write: certainly not applied, or nobody knows.

Sorted by etcd's own messages first, because one gRPC code stands for both kinds. Whatever is not
known to be harmless counts as unknown.
"""

from typing import Final

from grpc import StatusCode

from ..seam import EngineError, OutcomeUnknown, Refused


class NotReached(Refused):
    """Nobody took the call: another member or another moment may do better."""


class TokenRejected(Refused):
    """The token has run out, or its server was started anew: authenticate again."""


_NOT_SENT: Final = ("failed to connect to all addresses", "connections to all backends failing")
"""What gRPC says when a call never left this process."""

_NO_LEADER: Final = "etcdserver: no leader"
"""Said before anything is proposed, because every call asks for a leader (`hasleader`)."""

_TOKEN: Final = ("invalid auth token", "revision in header is old", "user name is empty")

_MAYBE_APPLIED: Final = ("request timed out", "leader changed", "server stopped", "cancelled")
"""etcd gave up waiting for what it had proposed already."""

_PLAIN: Final = {
    "database space exceeded": (
        "etcd's database is full (NOSPACE): compact, defragment and disarm its alarm"
    ),
    "permission denied": "etcd denies this user the keys under the prefix: grant it readwrite",
    "request is too large": "the write is larger than etcd takes (--max-request-bytes)",
}


def read_error(code: StatusCode, details: str, endpoint: str) -> EngineError:
    """The error to raise for a call that `endpoint` did not do."""
    if any(text in details for text in _NOT_SENT):
        return NotReached(f"etcd at {endpoint} cannot be reached")
    if _NO_LEADER in details:
        return NotReached("etcd has no leader: a majority of its members is missing")
    if any(text in details for text in _TOKEN):
        return TokenRejected(f"etcd at {endpoint}: {details}")
    if any(text in details for text in _MAYBE_APPLIED):
        return OutcomeUnknown(f"etcd at {endpoint}: {details}")
    for text, plain in _PLAIN.items():
        if text in details:
            return Refused(plain)
    # Go's server says the last before it reads a message that is over its limit.
    if details.startswith(("etcdserver: ", "auth: ", "grpc: received message larger")):
        return Refused(f"etcd at {endpoint}: {details}")
    if code == StatusCode.DEADLINE_EXCEEDED:
        return OutcomeUnknown(f"etcd at {endpoint} did not answer in time")
    return OutcomeUnknown(f"the call to etcd at {endpoint} broke off: {details or code.name}")
