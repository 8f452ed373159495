"""The DNS front: authoritative answers for what is registered, from processes of their own."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import DnsConfig, DnsIdentity
    from .errors import DnsFrontError, InvalidDnsConfig
    from .feed import RateLimits
    from .front import DnsFront, WorkerFailed
    from .sockets import CannotListen
    from .stats import DnsStats, WorkerStats
    from .transfer.config import TransferConfig

__all__ = [
    "CannotListen",
    "DnsConfig",
    "DnsFront",
    "DnsFrontError",
    "DnsIdentity",
    "DnsStats",
    "InvalidDnsConfig",
    "RateLimits",
    "TransferConfig",
    "WorkerFailed",
    "WorkerStats",
]

_HOMES = {
    "CannotListen": "sockets",
    "DnsConfig": "config",
    "DnsFront": "front",
    "DnsFrontError": "errors",
    "DnsIdentity": "config",
    "DnsStats": "stats",
    "InvalidDnsConfig": "errors",
    "RateLimits": "feed",
    "TransferConfig": "transfer.config",
    "WorkerFailed": "front",
    "WorkerStats": "stats",
}


def __getattr__(name: str) -> object:
    # A worker process imports this package too, and must not pay for asyncio and the registry.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
