"""What the transfers of a front are told, and what their process is told of that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..errors import InvalidDnsConfig
from ..freshness import MAX_STALE_S
from ..wire import labels_in
from .grants import Grant, Target
from .keys import Key, Keys, read_key_file


@dataclass(frozen=True, slots=True)
class TransferConfig:
    """Nobody may have a zone, and nobody is told of changes, unless it says so here."""

    grants: tuple[Grant, ...] = ()
    notify: tuple[Target, ...] = ()
    key_file: str | None = None

    @property
    def enabled(self) -> bool:
        return bool(self.grants or self.notify or self.key_file)

    def read_keys(self) -> Keys:
        """Raises `BadKeyFile`, or `InvalidDnsConfig` when a key that is named is not there."""
        keys = read_key_file(self.key_file) if self.key_file else {}
        named = [one.key for one in self.grants] + [one.key for one in self.notify]
        for name in named:
            if name is not None and name not in keys:
                where = f"is not in {self.key_file}" if self.key_file else "needs --dns-tsig-key"
                text = b".".join(labels_in(name)).decode("ascii")
                raise InvalidDnsConfig(f"the key {text} of a transfer or a notification {where}")
        return keys


NO_TRANSFER: Final = TransferConfig()


class TransferSettings(NamedTuple):
    """What the process is told first. Over the feed, because command lines can be read by all.

    Grants are (network, key name or None); `source` is the host that notifications come from,
    None: what the system chooses.
    """

    zones: Sequence[str]
    ttl_s: int
    server_addresses: Sequence[bytes]
    source: str | None
    grants: Sequence[tuple[str, bytes | None]]
    notify: Sequence[Target]
    keys: Sequence[Key]
    max_stale_s: float = MAX_STALE_S
    reverse_zones: Sequence[str] = ()
    cookie_secrets: Sequence[bytes] = ()
    nsid: bytes = b""
    chaos_identity: bytes = b""
    chaos_version: bytes = b""
