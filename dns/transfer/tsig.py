"""Transaction signatures (RFC 8945): messages, keys and the time in; verdicts and messages out."""

import hashlib
import hmac
import struct
from typing import Final, NamedTuple

from .. import wire
from ..query import Query
from ..reply import bare_reply, empty_reply
from .keys import ALGORITHMS, Key, Keys
from .sections import Malformed, records_of

FUDGE_S: Final = 300
"""How far clocks may be apart (RFC 8945 section 10)."""
BADSIG: Final = 16
BADKEY: Final = 17
BADTIME: Final = 18
BADTRUNC: Final = 22

_CLASS_ANY: Final = 255
_MAC_BYTES_MIN: Final = 10
"""RFC 8945 section 5.2.2.1: a shorter one is an error of form, whatever our policy."""
_FIXED: Final = struct.Struct("!HHIH")
_TIMERS: Final = struct.Struct("!HIH")
_TWO: Final = struct.Struct("!HH")
_THREE: Final = struct.Struct("!HHH")


class Tsig(NamedTuple):
    """A TSIG record as read; names are on the wire and in lower case. `at`: where it starts."""

    at: int
    name: bytes
    algorithm: bytes
    time_s: int
    fudge_s: int
    mac: bytes
    original_id: int
    error: int
    other: bytes


def signature_bytes(key: Key) -> int:
    """How much longer a signature with `key` makes a message."""
    mac = bytes(hashlib.new(ALGORITHMS[key.algorithm]).digest_size)
    record = Tsig(0, key.name, key.algorithm, 0, FUDGE_S, mac, 0, 0, b"")
    return len(_with_record(bytes(wire.HEADER_BYTES), record)) - wire.HEADER_BYTES


class Signer:
    """Signs the messages of one reply, in order; `verified` reads those of one reply to us."""

    def __init__(self, key: Key, mac: bytes = b"") -> None:
        """`mac` is that of the request, empty when this signs the request."""
        self.key = key
        self._mac = mac
        self._first = True

    @property
    def mac(self) -> bytes:
        """The last signature made."""
        return self._mac

    def sign(
        self, message: bytes, now_s: int, error: int = 0, other: bytes = b"", time_s: int = 0
    ) -> bytes:
        """The message with its TSIG. `time_s` is not the time now in answers to BADTIME only."""
        packet_id = int.from_bytes(message[:2], "big")
        signed = Tsig(
            len(message), self.key.name, self.key.algorithm,
            time_s or now_s, FUDGE_S, b"", packet_id, error, other,
        )  # fmt: skip
        self._mac = _mac(self.key, message, signed, self._mac, variables=self._first)
        self._first = False
        return _with_record(message, signed._replace(mac=self._mac))


class Verified(NamedTuple):
    """The message as it was before it was signed, and what signs the reply to it."""

    message: bytes
    signer: Signer


class Refused(NamedTuple):
    """A signature that does not hold: the reply is NOTAUTH with a TSIG that says `error`."""

    message: bytes
    tsig: Tsig
    error: int
    signer: Signer | None
    """Signs what is certain to come from who holds the key: BADTIME and BADTRUNC."""

    def sign(self, reply: bytes, now_s: int) -> bytes:
        if self.signer is None:
            empty = self.tsig._replace(mac=b"", error=self.error, other=b"")
            return _with_record(reply, empty)
        if self.error != BADTIME:
            return self.signer.sign(reply, now_s, self.error)
        # RFC 8945 section 5.2.3: the asker's time again, and ours beside it.
        other = now_s.to_bytes(6, "big")
        return self.signer.sign(reply, now_s, self.error, other, self.tsig.time_s)


def verify(
    message: bytes, keys: Keys, now_s: int, request_mac: bytes = b""
) -> Verified | Refused | None:
    """Whether the message's signature holds; None when it has none. Raises `Malformed`.

    `request_mac` is that of the request when the message is the reply to one.
    """
    try:
        tsig = _find(message)
    except (IndexError, struct.error) as error:
        raise Malformed from error
    if tsig is None:
        return None
    bare = _without_record(message, tsig)
    key = keys.get(tsig.name)
    if key is None or key.algorithm != tsig.algorithm:
        return Refused(bare, tsig, BADKEY, None)
    expected = _mac(key, bare, tsig, request_mac)
    size = len(tsig.mac)
    if size > len(expected) or (size < max(_MAC_BYTES_MIN, len(expected) // 2) and size):
        raise Malformed
    if not size or not hmac.compare_digest(expected[:size], tsig.mac):
        return Refused(bare, tsig, BADSIG, None)
    signer = Signer(key, tsig.mac)
    if size < len(expected):
        return Refused(bare, tsig, BADTRUNC, signer)  # nobody needs the saved bytes today
    if abs(now_s - tsig.time_s) > tsig.fudge_s:
        return Refused(bare, tsig, BADTIME, signer)
    return Verified(bare, signer)


def unknown_key_reply(data: bytes, query: Query) -> bytes:
    """The reply of who has no keys at all to the signed `data`."""
    try:
        refused = verify(data, {}, 0)
    except Malformed:
        refused = None
    if not isinstance(refused, Refused):
        return bare_reply(data[:2], query.flags, wire.FORMERR)
    return refused.sign(empty_reply(data[:2], query, wire.NOTAUTH), 0)


def _mac(key: Key, bare: bytes, tsig: Tsig, prior: bytes, *, variables: bool = True) -> bytes:
    """Over the message before (section 4.3.1), this one, and the record's own fields."""
    timers = _TIMERS.pack(tsig.time_s >> 32, tsig.time_s & 0xFFFFFFFF, tsig.fudge_s)
    parts = [tsig.original_id.to_bytes(2, "big"), bare[2:]]
    if prior:
        parts[:0] = [len(prior).to_bytes(2, "big"), prior]
    if variables:
        head = tsig.name + _CLASS_ANY.to_bytes(2, "big") + b"\0\0\0\0" + tsig.algorithm
        tail = _TWO.pack(tsig.error, len(tsig.other)) + tsig.other
        parts += (head, timers, tail)
    else:
        parts.append(timers)  # section 5.3.1: of later messages of a reply, the time alone
    return hmac.digest(key.secret, b"".join(parts), ALGORITHMS[key.algorithm])


def _with_record(message: bytes, tsig: Tsig) -> bytes:
    high, low = tsig.time_s >> 32, tsig.time_s & 0xFFFFFFFF
    data = b"".join((
        tsig.algorithm,
        _TIMERS.pack(high, low, tsig.fudge_s),
        len(tsig.mac).to_bytes(2, "big"),
        tsig.mac,
        _THREE.pack(tsig.original_id, tsig.error, len(tsig.other)),
        tsig.other,
    ))  # fmt: skip
    record = tsig.name + _FIXED.pack(wire.TSIG, _CLASS_ANY, 0, len(data)) + data
    additional = int.from_bytes(message[10:12], "big") + 1
    return message[:10] + additional.to_bytes(2, "big") + message[12:] + record


def _without_record(message: bytes, tsig: Tsig) -> bytes:
    additional = int.from_bytes(message[10:12], "big") - 1
    head = message[:10] + additional.to_bytes(2, "big")
    return head + message[wire.HEADER_BYTES : tsig.at]


def _find(message: bytes) -> Tsig | None:
    """The message's last record if that is a TSIG; no other may be one (section 5.2)."""
    found = None
    for record in records_of(message):
        if found is not None:
            raise Malformed
        if record.rtype == wire.TSIG:
            found = record
    if found is None:
        return None
    in_place = found.section == 3 and found.end == len(message)
    if not in_place or found.rclass != _CLASS_ANY or found.ttl_s:
        raise Malformed
    return _read(message, found.at)


def _read(message: bytes, start: int) -> Tsig:
    name, at = _name(message, start)
    algorithm, at = _name(message, at + _FIXED.size)
    high, low, fudge_s = _TIMERS.unpack_from(message, at)
    at += _TIMERS.size
    size = int.from_bytes(message[at : at + 2], "big")
    at += 2
    mac, at = message[at : at + size], at + size
    original_id, error, size = _THREE.unpack_from(message, at)
    at += _THREE.size
    if at + size != len(message):
        raise Malformed
    return Tsig(
        start, name, algorithm, high << 32 | low, fudge_s, mac, original_id, error, message[at:]
    )


def _name(message: bytes, at: int) -> tuple[bytes, int]:
    """A name without compression (section 4.2 allows none), and where it ends."""
    start = at
    while length := message[at]:
        at += length + 1
        if length > wire.LABEL_BYTES_MAX or at - start >= wire.NAME_BYTES_MAX:
            raise Malformed
    return message[start : at + 1].lower(), at + 1
