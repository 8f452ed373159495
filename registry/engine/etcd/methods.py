"""The calls of etcd that a board needs."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from .callboard_etcd_pb2 import (
    AuthenticateRequest,
    AuthenticateResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPromoteResponse,
    MemberRemoveRequest,
    MemberRemoveResponse,
    MoveLeaderRequest,
    MoveLeaderResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    StatusRequest,
    StatusResponse,
    TxnRequest,
    TxnResponse,
    WatchRequest,
    WatchResponse,
)

Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Answer]):
    """Where it is, and what it is asked and answers."""

    path: str
    request: type[Request]
    answer: type[Answer]


RANGE: Final = Method("/etcdserverpb.KV/Range", RangeRequest, RangeResponse)
PUT: Final = Method("/etcdserverpb.KV/Put", PutRequest, PutResponse)
TXN: Final = Method("/etcdserverpb.KV/Txn", TxnRequest, TxnResponse)
WATCH: Final = Method("/etcdserverpb.Watch/Watch", WatchRequest, WatchResponse)
LEASE_GRANT: Final = Method("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest, LeaseGrantResponse)
LEASE_REVOKE: Final = Method(
    "/etcdserverpb.Lease/LeaseRevoke", LeaseRevokeRequest, LeaseRevokeResponse
)
LEASE_KEEP_ALIVE: Final = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", LeaseKeepAliveRequest, LeaseKeepAliveResponse
)
MEMBER_LIST: Final = Method(
    "/etcdserverpb.Cluster/MemberList", MemberListRequest, MemberListResponse
)
MEMBER_ADD: Final = Method("/etcdserverpb.Cluster/MemberAdd", MemberAddRequest, MemberAddResponse)
MEMBER_REMOVE: Final = Method(
    "/etcdserverpb.Cluster/MemberRemove", MemberRemoveRequest, MemberRemoveResponse
)
MEMBER_PROMOTE: Final = Method(
    "/etcdserverpb.Cluster/MemberPromote", MemberPromoteRequest, MemberPromoteResponse
)
STATUS: Final = Method("/etcdserverpb.Maintenance/Status", StatusRequest, StatusResponse)
MOVE_LEADER: Final = Method(
    "/etcdserverpb.Maintenance/MoveLeader", MoveLeaderRequest, MoveLeaderResponse
)
AUTHENTICATE: Final = Method(
    "/etcdserverpb.Auth/Authenticate", AuthenticateRequest, AuthenticateResponse
)
