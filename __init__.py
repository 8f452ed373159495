"""A service registry and authoritative DNS server, and the Python client for it.

The names of the client are imported when they are first used: a DNS worker is this package too,
and needs no HTTP client.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clients import (
        AsyncClient,
        AsyncRegistration,
        AsyncWatch,
        CallboardError,
        Client,
        Conflict,
        DeleteEvent,
        Event,
        Instance,
        Instances,
        InvalidArgument,
        KvPair,
        Member,
        NoServerAnswered,
        NotFound,
        OutcomeUnknown,
        Peer,
        Policy,
        Port,
        PutEvent,
        Registration,
        Renewal,
        ServiceSummary,
        SnapshotEvent,
        Status,
        TimedOut,
        TooLarge,
        Transfer,
        Unavailable,
        UnexpectedAnswer,
    )

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncRegistration",
    "AsyncWatch",
    "CallboardError",
    "Client",
    "Conflict",
    "DeleteEvent",
    "Event",
    "Instance",
    "Instances",
    "InvalidArgument",
    "KvPair",
    "Member",
    "NoServerAnswered",
    "NotFound",
    "OutcomeUnknown",
    "Peer",
    "Policy",
    "Port",
    "PutEvent",
    "Registration",
    "Renewal",
    "ServiceSummary",
    "SnapshotEvent",
    "Status",
    "TimedOut",
    "TooLarge",
    "Transfer",
    "Unavailable",
    "UnexpectedAnswer",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import clients

    return getattr(clients, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
