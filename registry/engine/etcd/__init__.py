"""The etcd engine: a board that a majority of machines holds."""

from .engine import EtcdEngine
from .forming import open_clustered
from .member_command import PeerFiles
from .membership import Membership
from .recovery import recover
from .settings import EtcdSettings

__all__ = ["EtcdEngine", "EtcdSettings", "Membership", "PeerFiles", "open_clustered", "recover"]
