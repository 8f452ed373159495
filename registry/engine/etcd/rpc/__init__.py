"""gRPC, as far as a client of etcd needs it: calls with one request, over HTTP/2."""

from .channel import CONNECT_S_MAX, Channel, Metadata, Stream, Target
from .status import NotSent, RpcError, StatusCode

__all__ = [
    "CONNECT_S_MAX",
    "Channel",
    "Metadata",
    "NotSent",
    "RpcError",
    "StatusCode",
    "Stream",
    "Target",
]
