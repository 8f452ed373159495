"""The HTTP API: calls in, JSON out."""

from .metrics import Metrics
from .server import ApiConfig, ApiServer, CannotListen

__all__ = ["ApiConfig", "ApiServer", "CannotListen", "Metrics"]
