"""DNS cookies (RFC 7873) in the interoperable form of RFC 9018: who shows one of ours back has
received our reply at its address, so that the address is not forged.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Final

from .client_address import unmapped
from .siphash import siphash_2_4

CLIENT_BYTES: Final = 8
SERVER_BYTES_MIN: Final = 8
SERVER_BYTES_MAX: Final = 32
SECRET_BYTES: Final = 16
AGE_S_MAX: Final = 3600
"""RFC 9018 section 4.3: older ones are no good any more."""
AHEAD_S_MAX: Final = 300
"""How far the clock of another server with the same secret may be ahead (the same section)."""
REUSE_S_MAX: Final = 1800
"""From half of its life on a cookie is replaced, so that who asks regularly always has one."""

_VERSION: Final = b"\1\0\0\0"
"""Version 1, and three reserved bytes."""
_OURS_BYTES: Final = 16
_TIME: Final = struct.Struct("!I")


class ServerCookies:
    """Makes and checks server cookies with the first of `secrets`; one that was made with
    another of them is still good, which is how secrets are changed. `clock` is in Unix time."""

    def __init__(self, secrets: Sequence[bytes], clock: Callable[[], float]) -> None:
        assert secrets
        assert all(len(secret) == SECRET_BYTES for secret in secrets)
        self._secrets = secrets
        self._clock = clock

    def reply(self, cookie: bytes, address: bytes) -> tuple[bytes, bool]:
        """What to send back for a COOKIE option's value, and whether that was valid."""
        made = self._made(cookie, address)
        if made is not None and made[0] <= REUSE_S_MAX and made[1] == self._secrets[0]:
            return cookie, True
        client = cookie[:CLIENT_BYTES]
        head = client + _VERSION + _TIME.pack(int(self._clock()) & 0xFFFFFFFF)
        return head + siphash_2_4(self._secrets[0], head + unmapped(address)), made is not None

    def _made(self, cookie: bytes, address: bytes) -> tuple[int, bytes] | None:
        """How many seconds ago, and with which secret; None for one that is not valid."""
        if len(cookie) != CLIENT_BYTES + _OURS_BYTES or cookie[8:12] != _VERSION:
            return None
        (made,) = _TIME.unpack_from(cookie, 12)
        # RFC 1982: the time is 32 bits that run over, hence compared as a signed difference.
        age_s = int(((int(self._clock()) - made) + 2**31) % 2**32 - 2**31)
        if not -AHEAD_S_MAX <= age_s <= AGE_S_MAX:
            return None
        hashed = cookie[:16] + unmapped(address)
        for secret in self._secrets:
            # Not compared in constant time: the network's jitter hides what that would.
            if siphash_2_4(secret, hashed) == cookie[16:]:
                return age_s, secret
        return None


def is_well_formed(cookie: bytes) -> bool:
    """RFC 7873 section 5.2.2: a client's part alone, or with a server's part of 8 to 32 bytes."""
    server_bytes = len(cookie) - CLIENT_BYTES
    return server_bytes == 0 or SERVER_BYTES_MIN <= server_bytes <= SERVER_BYTES_MAX
