"""How an etcd is reached: its endpoints, who we are there, and where our board stands."""

from dataclasses import dataclass, field
from typing import Final

PREFIX_DEFAULT: Final = "callboard/"
TRANSACTION_OPERATIONS_MAX: Final = 128
"""etcd's own default of `--max-txn-ops`, and what somebody else's cluster is likely to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """What `EtcdEngine.open` is told. `endpoints` are URLs: http, https, or `unix:/path`."""

    endpoints: tuple[str, ...]
    prefix: str = PREFIX_DEFAULT
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    transaction_operations_max: int = TRANSACTION_OPERATIONS_MAX
    owned: bool = False
    """The members are callboard's own children: each is a node of the same name."""
    start_s_max: float = 5.0
    """How long `open` waits for a first answer that a majority stands behind."""
