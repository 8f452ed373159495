"""Where a board stands among an etcd's keys.

    <prefix>b/<key>   the registry's pairs
    <prefix>last      written by every transaction that writes pairs: its revision is the board's
    <prefix>keeper    the election of the lease keeper, leased; a msgpack array of name, address

Other users of the same etcd make its revision grow; only `last` says how far the board is.
"""

from typing import Final

LAST_PLAIN: Final = b""
LAST_EXPIRED: Final = b"expired"
"""The value of `last`: the deletes of this transaction are of leases that ran out, so that every
node can tell its watchers why."""


class Layout:
    """The keys of the board under `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix.encode()
        self.end = range_end(self.prefix)
        self.pairs = self.prefix + b"b/"
        self.pairs_end = range_end(self.pairs)
        self.last = self.prefix + b"last"
        self.keeper = self.prefix + b"keeper"


def range_end(prefix: bytes) -> bytes:
    """The smallest key after all that start with `prefix`, which ends in no 0xff."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
