"""The etcd engine, imported only by nodes that use it: gRPC takes its time to load."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it finds wrong, we say in our own log
# Children are started by exec: gRPC need not look after forks, and complain of them. It reads
# this when it is loaded.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from .engine import EtcdEngine
from .forming import open_clustered
from .member_command import PeerFiles
from .membership import Membership
from .recovery import recover
from .settings import EtcdSettings

__all__ = ["EtcdEngine", "EtcdSettings", "Membership", "PeerFiles", "open_clustered", "recover"]
