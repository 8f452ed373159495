"""The HTTP API: calls in, JSON out."""

from .connections import CONNECTIONS_MAX
from .listener import ApiAddress, ApiConfig, CannotListen
from .metrics import Metrics
from .server import ApiServer
from .starting import Starting

__all__ = [
    "CONNECTIONS_MAX",
    "ApiAddress",
    "ApiConfig",
    "ApiServer",
    "CannotListen",
    "Metrics",
    "Starting",
]
