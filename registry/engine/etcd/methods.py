"""The calls of etcd that a board needs."""

from typing import Any, Final, NamedTuple

from aetcd.rpc import (
    AuthenticateResponse,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseRevokeResponse,
    MemberAddResponse,
    MemberListResponse,
    MemberPromoteResponse,
    MemberRemoveResponse,
    MoveLeaderResponse,
    RangeResponse,
    StatusResponse,
    TxnResponse,
    WatchResponse,
)


class Method(NamedTuple):
    """Where it is, and what it answers."""

    path: str
    answer: Any


RANGE: Final = Method("/etcdserverpb.KV/Range", RangeResponse)
TXN: Final = Method("/etcdserverpb.KV/Txn", TxnResponse)
WATCH: Final = Method("/etcdserverpb.Watch/Watch", WatchResponse)
LEASE_GRANT: Final = Method("/etcdserverpb.Lease/LeaseGrant", LeaseGrantResponse)
LEASE_REVOKE: Final = Method("/etcdserverpb.Lease/LeaseRevoke", LeaseRevokeResponse)
LEASE_KEEP_ALIVE: Final = Method("/etcdserverpb.Lease/LeaseKeepAlive", LeaseKeepAliveResponse)
MEMBER_LIST: Final = Method("/etcdserverpb.Cluster/MemberList", MemberListResponse)
MEMBER_ADD: Final = Method("/etcdserverpb.Cluster/MemberAdd", MemberAddResponse)
MEMBER_REMOVE: Final = Method("/etcdserverpb.Cluster/MemberRemove", MemberRemoveResponse)
MEMBER_PROMOTE: Final = Method("/etcdserverpb.Cluster/MemberPromote", MemberPromoteResponse)
STATUS: Final = Method("/etcdserverpb.Maintenance/Status", StatusResponse)
MOVE_LEADER: Final = Method("/etcdserverpb.Maintenance/MoveLeader", MoveLeaderResponse)
AUTHENTICATE: Final = Method("/etcdserverpb.Auth/Authenticate", AuthenticateResponse)
