"""The HTTP API: calls in, JSON out."""

from .listener import ApiAddress, ApiConfig, CannotListen
from .metrics import Metrics
from .server import ApiServer
from .starting import Starting

__all__ = ["ApiAddress", "ApiConfig", "ApiServer", "CannotListen", "Metrics", "Starting"]
