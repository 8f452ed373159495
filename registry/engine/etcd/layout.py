"""Where a board stands among an etcd's keys.

    <prefix>b/<key>   the registry's pairs
    <prefix>last      written with pairs: its revision is the board's
    <prefix>keeper    the election of the lease keeper, leased; a msgpack array of name, address

Other users of the same etcd make its revision grow; only `last` says how far the board is. Where
there are none, etcd's own revision is the board's, and what is put needs no `last` beside it.
"""

from typing import Final

LAST_PLAIN: Final = b""
LAST_EXPIRED: Final = b"expired"
"""The value of `last`: the deletes of this transaction are of leases that ran out, so that every
node can tell its watchers why."""

_EVERYTHING: Final = b"\0"
"""As both ends of a range."""


class Layout:
    """The keys of the board under `prefix`; `exclusive` when nobody else writes to this etcd.

    From `start` to `end` is what has to be watched.
    """

    def __init__(self, prefix: str, *, exclusive: bool = False) -> None:
        self.prefix = prefix.encode()
        self.exclusive = exclusive
        self.start, self.end = self.prefix, range_end(self.prefix)
        if exclusive:  # then each revision is heard of, whatever it is
            self.start = self.end = _EVERYTHING
        self.pairs = self.prefix + b"b/"
        self.pairs_end = range_end(self.pairs)
        self.last = self.prefix + b"last"
        self.keeper = self.prefix + b"keeper"


def range_end(prefix: bytes) -> bytes:
    """The smallest key after all that start with `prefix`, which ends in no 0xff."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
