"""Class CH: who this server is (RFC 4892), as far as it is told to say so."""

from typing import Final

from . import wire
from .answers import Answer
from .names import Labels

_IDENTITY: Final = frozenset({(b"id", b"server"), (b"hostname", b"bind")})
_VERSION: Final = frozenset({(b"version", b"bind"), (b"version", b"server")})


class Chaos:
    """`identity` and `version` are what the names answer; empty: REFUSED."""

    def __init__(self, identity: bytes = b"", version: bytes = b"") -> None:
        self._texts: dict[Labels, bytes] = {
            **dict.fromkeys(_IDENTITY, identity),
            **dict.fromkeys(_VERSION, version),
        }

    def answer(self, labels: Labels, qtype: int) -> Answer | None:
        """None for a name that is not told."""
        text = self._texts.get(labels)
        if not text:
            return None
        if qtype not in (wire.TXT, wire.ANY):
            return Answer(wire.NOERROR)
        fixed = (wire.TXT << 64 | wire.CLASS_CH << 48 | len(text) + 1).to_bytes(10, "big")
        record = b"".join((wire.QNAME_POINTER, fixed, bytes((len(text),)), text))
        return Answer(wire.NOERROR, (record,))
