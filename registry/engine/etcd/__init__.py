"""The etcd engine, imported only by nodes that use it: gRPC takes its time to load."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it finds wrong, we say in our own log

from .engine import EtcdEngine
from .forming import open_clustered
from .member_command import PeerFiles
from .membership import Membership
from .settings import EtcdSettings

__all__ = ["EtcdEngine", "EtcdSettings", "Membership", "PeerFiles", "open_clustered"]
