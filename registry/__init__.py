"""What is registered: names and leases over an engine of key-value pairs."""

from .errors import (
    ChangeRefused,
    InvalidInput,
    RegistryError,
    StandsAlone,
    TooLarge,
    Unavailable,
    UnknownMember,
)
from .instance import HANDED_OUT, TTL_NEVER, Instance, Port, Status
from .mass_expiry import MassExpiry
from .names import DEFAULT_NAMESPACE, NAME_CHARS_MAX, InstanceName, is_name
from .registry import Registry
from .relay import CannotListen as CannotRelay
from .views import (
    BatchOperation,
    BatchResult,
    Deregister,
    Event,
    Heartbeat,
    KvPair,
    KvTopic,
    Listed,
    Register,
    Registered,
    Renewal,
    ServicesTopic,
    ServiceSummary,
    ServiceTopic,
    Topic,
)
from .watches import Ended, Lagged, Subscription

__all__ = [
    "DEFAULT_NAMESPACE",
    "HANDED_OUT",
    "NAME_CHARS_MAX",
    "TTL_NEVER",
    "BatchOperation",
    "BatchResult",
    "CannotRelay",
    "ChangeRefused",
    "Deregister",
    "Ended",
    "Event",
    "Heartbeat",
    "Instance",
    "InstanceName",
    "InvalidInput",
    "KvPair",
    "KvTopic",
    "Lagged",
    "Listed",
    "MassExpiry",
    "Port",
    "Register",
    "Registered",
    "Registry",
    "RegistryError",
    "Renewal",
    "ServiceSummary",
    "ServiceTopic",
    "ServicesTopic",
    "StandsAlone",
    "Status",
    "Subscription",
    "TooLarge",
    "Topic",
    "Unavailable",
    "UnknownMember",
    "is_name",
]
