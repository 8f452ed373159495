"""What the DNS front is told: plain values, checked once."""

from dataclasses import dataclass
from typing import Final

from .errors import InvalidDnsConfig
from .feed import NO_LIMITS, RateLimits
from .freshness import MAX_STALE_S
from .transfer.config import NO_TRANSFER, TransferConfig
from .wire import NAME_BYTES_MAX, labels_of

TTL_S_MAX: Final = 2**31 - 1
"""RFC 2181 section 8."""
IDENTITY_BYTES_MAX: Final = 63
"""So that it fits into 512 bytes beside a name of 255 and the other options."""
_LONGEST_BELOW_BYTES: Final = 3 * 64 + len("\x09_xxxxxxxx")
"""Room that a zone's name must leave below it for three full labels and a kind."""


@dataclass(frozen=True, slots=True)
class DnsIdentity:
    """What the server says of itself; empty: it does not. `nsid` goes out to who asks for it
    (RFC 5001), the others are `id.server` and `version.bind` of class CH."""

    nsid: bytes = b""
    chaos_identity: bytes = b""
    chaos_version: bytes = b""

    def __post_init__(self) -> None:
        for text in (self.nsid, self.chaos_identity, self.chaos_version):
            if len(text) > IDENTITY_BYTES_MAX:
                raise InvalidDnsConfig(f"a server's id has up to {IDENTITY_BYTES_MAX} bytes")


ANONYMOUS: Final = DnsIdentity()


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """`port` 0 takes a free one. `forward` is the resolver for names outside the zones.

    `ns_addresses` are what `ns.Z` answers; left empty, the listening address, or this host's
    addresses when that is a wildcard. A copy of the board that is older than `max_stale_s`,
    which may be infinite, is not told any more. With `outlives`, workers go on when the process
    is killed, and the next front at the same address takes over from them; not with port 0,
    where there is no same address. SRV weights are those registered times `weight_scale`.
    """

    host: str = "127.0.0.1"
    port: int = 8600
    zones: tuple[str, ...] = ("callboard.internal",)
    ttl_s: int = 5
    weight_scale: int = 1
    workers: int = 1
    forward: tuple[str, int] | None = None
    ns_addresses: tuple[str, ...] = ()
    limits: RateLimits = NO_LIMITS
    transfer: TransferConfig = NO_TRANSFER
    max_stale_s: float = MAX_STALE_S
    outlives: bool = False
    cookie_secret_file: str | None = None
    """Secrets of server cookies (`cookie_secrets.py`); None: a random one."""
    identity: DnsIdentity = ANONYMOUS
    reverse_zones: tuple[str, ...] = ()
    """Zones of addresses, as `reverse.parse_reverse_zone` gives them."""

    def __post_init__(self) -> None:
        if not self.zones:
            raise InvalidDnsConfig("at least one DNS zone is needed")
        for zone in self.zones:
            try:
                size_bytes = sum(len(label) + 1 for label in labels_of(zone)) + 1
            except ValueError as error:
                raise InvalidDnsConfig(f"zone {error}") from error
            if size_bytes + _LONGEST_BELOW_BYTES > NAME_BYTES_MAX:
                raise InvalidDnsConfig(f"zone {zone!r} leaves no room for names below it")
        if not 0 <= self.ttl_s <= TTL_S_MAX:
            raise InvalidDnsConfig(f"a DNS TTL is 0 to {TTL_S_MAX} s, not {self.ttl_s}")
        if self.workers < 1:
            raise InvalidDnsConfig("at least one DNS worker is needed")
