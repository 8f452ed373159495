"""The Python client: for coroutines `AsyncClient`, for everybody else `Client`."""

import logging

from .aio import AsyncClient, AsyncWatch
from .balancing import Peer, Policy
from .errors import (
    CallboardError,
    Conflict,
    InvalidArgument,
    NoServerAnswered,
    NotFound,
    OutcomeUnknown,
    TimedOut,
    TooLarge,
    Unavailable,
    UnexpectedAnswer,
)
from .registration import AsyncRegistration
from .results import (
    DeleteEvent,
    Event,
    Instance,
    Instances,
    KvPair,
    Member,
    Port,
    PutEvent,
    Renewal,
    ServiceSummary,
    SnapshotEvent,
    Status,
    Transfer,
)
from .sync import Client, Registration

logging.getLogger("callboard").addHandler(logging.NullHandler())

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
]
