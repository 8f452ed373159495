"""The etcd engine, imported only by nodes that use it: gRPC takes its time to load."""

from .engine import EtcdEngine
from .settings import EtcdSettings

__all__ = ["EtcdEngine", "EtcdSettings"]
