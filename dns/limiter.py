"""Response rate limiting: what becomes of a reply over UDP once its client's network is known."""

import logging
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from . import wire
from .client_address import packed_address, unmapped
from .counters import Counters
from .options import COOKIE, option_of
from .rates import ANSWERS, DENIALS, ERRORS, PASS, SLIP, ResponseRates
from .relay import name_end

LOG_S: Final = 60.0
"""A network is named in the log no more often than this."""
LOGGED_MAX: Final = 20
"""Networks named in that time: a flood from forged addresses must not become a flood of lines."""

CLASSES: Final = tuple(
    {wire.NOERROR: ANSWERS, wire.NXDOMAIN: DENIALS}.get(byte & 0xF, ERRORS) for byte in range(256)
)
"""What a response counts as, by the byte of its header that holds the rcode."""

_COUNTS: Final = struct.Struct("!3H")
_TYPE_AND_SIZE: Final = struct.Struct("!H6xH")
_OPT_RCODE_AT: Final = 5
"""Where the upper bits of the rcode stand in an OPT (RFC 6891 section 6.1.3)."""
_OPT_SIZE_AT: Final = 9
_OPT_BYTES: Final = 11
"""An OPT without options: its owner is the root."""
_ADDRESS_V4: Final = slice(0, 3)
_ADDRESS_V6: Final = slice(0, 7)

_logger: Final = logging.getLogger(__name__)


def network_of(address: bytes) -> bytes:
    """The /24 or /56 of a packed address: what one owner is likely to hold."""
    host = unmapped(address)
    return host[_ADDRESS_V4] if len(host) == 4 else host[_ADDRESS_V6]


class Limiter:
    """Every reply over UDP goes through `limit`, or through `judge` and perhaps `carry_out`
    where many come at once. TCP needs none of it: its clients have shown their address.

    With `enforced` False nothing is held back, only counted and logged.
    """

    def __init__(
        self,
        rates: ResponseRates,
        counters: Counters,
        *,
        enforced: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.judge = rates.judge
        self._events = counters.events
        self._enforced = enforced
        self._logged: set[bytes] = set()
        self._logged_since_s = 0.0

    def limit(self, reply: bytes, address: Sequence[Any]) -> bytes:
        """What to send to a socket address: the reply, a shorter one, or nothing at all."""
        network = network_of(packed_address(address[0]))
        verdict = self.judge(network, CLASSES[reply[3]], self.clock())
        return reply if verdict == PASS else self.carry_out(verdict, reply, network)

    def admits(self, address: Sequence[Any]) -> bool:
        """Whether to hand on what another process will reply to: like an error, it cannot be
        slipped."""
        network = network_of(packed_address(address[0]))
        if self.judge(network, ERRORS, self.clock()) == PASS:
            return True
        self._note(network)
        self._events["rrl_dropped" if self._enforced else "rrl_logged"] += 1
        return not self._enforced

    def carry_out(self, verdict: int, reply: bytes, network: bytes) -> bytes:
        """What is sent in place of a reply that was judged DROP or SLIP."""
        self._note(network)
        if not self._enforced:
            self._events["rrl_logged"] += 1
            return reply
        short = slipped(reply) if verdict == SLIP else b""
        self._events["rrl_slipped" if short else "rrl_dropped"] += 1
        return short

    def _note(self, network: bytes) -> None:
        now_s = self.clock()
        if now_s - self._logged_since_s >= LOG_S:
            self._logged.clear()
            self._logged_since_s = now_s
        if network in self._logged or len(self._logged) >= LOGGED_MAX:
            return
        self._logged.add(network)
        if len(network) == len(bytes(4)[_ADDRESS_V4]):
            text = socket.inet_ntop(socket.AF_INET, network + bytes(1)) + "/24"
        else:
            text = socket.inet_ntop(socket.AF_INET6, network + bytes(9)) + "/56"
        done = "is limited" if self._enforced else "would be limited"
        _logger.warning("%s asks for more than its share of responses: it %s", text, done)


def slipped(reply: bytes) -> bytes:
    """What takes the place of `reply`, and is never larger: its question with TC, so that who
    asked in earnest comes back over TCP; with BADCOOKIE and our cookie for a client of cookies,
    which comes back with that at once (RFC 7873 section 5.2.3)."""
    if reply[4:6] != b"\0\1":
        return b""  # nothing that could be asked again
    end = name_end(reply, wire.HEADER_BYTES) + 4
    flags = int.from_bytes(reply[2:4], "big") & ~0xF
    opt = _opt(reply, end)
    cookie = option_of(opt[_OPT_BYTES:], COOKIE)
    if cookie:
        flags = flags & ~wire.FLAG_AA | wire.BADCOOKIE & 0xF
        extended = bytes((wire.BADCOOKIE >> 4,))
        size = len(cookie).to_bytes(2, "big")
        opt = b"".join(
            (opt[:_OPT_RCODE_AT], extended, opt[_OPT_RCODE_AT + 1 : _OPT_SIZE_AT], size, cookie)
        )
    else:
        flags |= wire.FLAG_TC
        opt = opt[:_OPT_SIZE_AT] + bytes(2) if opt else b""
    counts = b"\0\1\0\0\0\0" + len(opt[:1]).to_bytes(2, "big")
    return b"".join((reply[:2], flags.to_bytes(2, "big"), counts, reply[12:end], opt))


def _opt(reply: bytes, offset: int) -> bytes:
    """The OPT among the records from `offset` on; empty if there is none."""
    for _ in range(sum(_COUNTS.unpack_from(reply, 6))):
        start, offset = offset, name_end(reply, offset)
        rtype, size = _TYPE_AND_SIZE.unpack_from(reply, offset)
        offset += _TYPE_AND_SIZE.size + size
        if rtype == wire.OPT:
            return reply[start:offset]
    return b""
