"""NOTIFY (RFC 1996): who is to be told, when, and whether they have heard. No sockets, no clock."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from .. import wire
from .grants import Target
from .keys import Keys
from .sections import Malformed
from .tsig import Signer, Verified, verify
from .zone import ZoneRecords

INTERVAL_S: Final = 1.0
"""Between two messages to one secondary about one zone: changes in between are gathered."""
RETRY_S_MIN: Final = 2.0
RETRY_S_MAX: Final = 60.0
"""Until the same message again, doubled each time (RFC 1996 section 3.6 says 60 s)."""
TRIES_MAX: Final = 10
"""Five minutes. Then the secondary's own refresh, or the next change, has to do."""

_OPCODE_NOTIFY: Final = 4 << 11

Place = tuple[str, int]


class Notice(NamedTuple):
    """A message for a secondary."""

    place: Place
    message: bytes


@dataclass(slots=True)
class _Conversation:
    """About one zone with one secondary. `due_s` None: nothing to say."""

    target: Target
    zone: ZoneRecords
    due_s: float | None = None
    earliest_s: float = 0.0
    tries: int = 0
    packet_id: int = -1
    mac: bytes = b""


class Notifier:
    """`changed`, then `due` whenever `next_s` has come, and `received` for what comes back.

    Times called `now_s` are of one monotonic clock, `time_s` is the time of day in seconds.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        zones: Mapping[tuple[bytes, ...], ZoneRecords],
        keys: Keys,
        make_id: Callable[[], int] = lambda: secrets.randbits(16),
    ) -> None:
        self._keys = keys
        self._make_id = make_id
        self._conversations = [
            _Conversation(target, zone) for target in targets for zone in zones.values()
        ]

    @property
    def next_s(self) -> float | None:
        """When `due` will have something; None: after the next change."""
        return min(
            (one.due_s for one in self._conversations if one.due_s is not None), default=None
        )

    def changed(self, now_s: float) -> None:
        """The zones are not what they were: tell everybody, and whoever was not heard, anew."""
        for one in self._conversations:
            one.due_s = max(now_s, one.earliest_s)
            one.tries = 0

    def due(self, serial: int, now_s: float, time_s: int) -> list[Notice]:
        """What to send now."""
        return [
            Notice((one.target.host, one.target.port), self._message(one, serial, now_s, time_s))
            for one in self._conversations
            if one.due_s is not None and one.due_s <= now_s
        ]

    def received(self, data: bytes, place: Place, time_s: int) -> bool:
        """Whether a packet that came back says that a secondary has heard: it may be from
        anybody, and is believed if all of it fits."""
        for one in self._conversations:
            if (one.target.host, one.target.port) == place and self._is_reply(one, data, time_s):
                one.packet_id = -1
                if one.tries:  # else something has changed since, which it has not heard of
                    one.due_s = None
                return True
        return False

    def _message(self, one: _Conversation, serial: int, now_s: float, time_s: int) -> bytes:
        one.tries += 1
        one.packet_id = self._make_id()
        one.earliest_s = now_s + INTERVAL_S
        one.due_s = now_s + min(RETRY_S_MIN * 2 ** (one.tries - 1), RETRY_S_MAX)
        if one.tries >= TRIES_MAX:
            one.due_s = None
        _, soa = one.zone.soa(serial)
        head = _numbers(one.packet_id, _OPCODE_NOTIFY | wire.FLAG_AA, 1, 1, 0, 0)
        question = wire.name_bytes(one.zone.zone) + _numbers(wire.SOA, wire.CLASS_IN)
        message = head + question + wire.QNAME_POINTER + soa
        if one.target.key is None:
            one.mac = b""
            return message
        signer = Signer(self._keys[one.target.key])
        message = signer.sign(message, time_s)
        one.mac = signer.mac
        return message

    def _is_reply(self, one: _Conversation, data: bytes, time_s: int) -> bool:
        if len(data) < wire.HEADER_BYTES or one.packet_id < 0:
            return False
        packet_id, flags = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        kind = flags & (wire.FLAG_QR | wire.OPCODE_MASK | 0xF)
        if packet_id != one.packet_id or kind != wire.FLAG_QR | _OPCODE_NOTIFY | wire.NOERROR:
            return False
        if one.target.key is None:
            return True
        try:
            return isinstance(verify(data, self._keys, time_s, one.mac), Verified)
        except Malformed:
            return False


def _numbers(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)
