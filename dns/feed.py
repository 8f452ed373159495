"""The stream from the registry process to a DNS worker: msgpack arrays, one after the other.

`[kind, index, items]` with items `[service key, record, service key, record, ...]`. A record
that is nothing but the id's prefix says that the instance is gone. A snapshot is BEGIN, CHANGES
of any number, END; until the END the worker answers from what it had, or not at all. CHANGES of
index 0 are not whole: more of the same index follows.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgpack

from .freshness import MAX_STALE_S

MESSAGE_BYTES_MAX: Final = 8 * 2**20
"""A page of the feed is some 100 KB, and one record at most 64 KiB: more is our own bug."""


class FeedKind(IntEnum):
    SETTINGS = 0
    BEGIN = 1
    CHANGES = 2
    END = 3
    HEARTBEAT = 4
    """One item: the moment, in ms of the monotonic clock, as of which the board is complete."""


class RateLimits(NamedTuple):
    """Response rate limiting: `off`, `log` or `on`; responses a second for each network and
    class of answer; every how many limited ones say "come back", over TCP or with the cookie in
    it (0: none)."""

    mode: str = "off"
    rate: int = 200
    slip: int = 2


NO_LIMITS: Final = RateLimits()


class WorkerSettings(NamedTuple):
    """What a worker is told first. Zones are dotted; addresses are packed; times in seconds."""

    zones: Sequence[str]
    ttl_s: int
    server_addresses: Sequence[bytes]
    forward: tuple[str, int] | None
    reply_from_destination: bool
    limits: RateLimits = NO_LIMITS
    max_stale_s: float = MAX_STALE_S
    outlives: bool = False
    """Whether the worker goes on when the node is killed."""
    number: int = 0
    """The worker's place in the row."""
    batched: bool = True
    """False takes the portable UDP path, for tests."""
    cookie_secrets: Sequence[bytes] = ()
    """The first makes cookies, all of them check some; without any, cookies are ignored."""
    nsid: bytes = b""
    chaos_identity: bytes = b""
    chaos_version: bytes = b""
    reverse_zones: Sequence[str] = ()


def pack_message(kind: FeedKind, index: int = 0, items: Sequence[Any] = ()) -> bytes:
    packed = msgpack.packb((int(kind), index, items))
    assert isinstance(packed, bytes)
    return packed


def unpacker() -> msgpack.Unpacker:
    return msgpack.Unpacker(use_list=False, max_buffer_size=MESSAGE_BYTES_MAX)
