"""Compiled denials: one reply for all names that differ in their first label alone.

A random-subdomain attack asks for a new name with every packet, so that remembering replies by
name helps nobody. But `nobody.service.Z` is answered like `noone.service.Z`, except for the
label: what is remembered here is the rest of such packets, and how to tell that a label is
still absent.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from . import wire

SHAPES_MAX: Final = 4096
"""Zones, namespaces, types, label lengths and EDNS sizes that are asked in earnest are some
hundreds; whoever invents more makes us forget, not grow."""

_LABEL_AT: Final = wire.HEADER_BYTES - 2
"""Where the first label stands, with its length, in a packet without its id."""

Exists = Callable[[bytes], bool]
"""Whether there may be something below a lower-case label: True where it takes a closer look."""


class _Denial(NamedTuple):
    exists: Exists
    head: bytes
    question_end: int
    tail: bytes
    kind: int


class Denials:
    """Keys are packets without id, in lower case, as in `cache.ReplyCache`."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, _Denial] = {}

    def __len__(self) -> int:
        return len(self._shapes)

    def find(self, key: bytes, data: bytes) -> tuple[bytes, int] | None:
        """The reply to packet `data`, and what to count it as."""
        label_end = _LABEL_AT + 1 + key[_LABEL_AT] if len(key) > _LABEL_AT else 0
        denial = self._shapes.get(key[: _LABEL_AT + 1] + key[label_end:])
        if denial is None or denial.exists(key[_LABEL_AT + 1 : label_end]):
            return None
        _, head, question_end, tail, kind = denial
        question = data[wire.HEADER_BYTES : question_end]
        return b"".join((data[:2], head, question, tail)), kind

    def put(
        self, key: bytes, exists: Exists, head: bytes, question_end: int, tail: bytes, kind: int
    ) -> None:
        """`head` and `tail` are as in `reply.Compiled`, for the packet of `key`."""
        if len(self._shapes) >= SHAPES_MAX:
            self._shapes.clear()
        label_end = _LABEL_AT + 1 + key[_LABEL_AT]
        shape = key[: _LABEL_AT + 1] + key[label_end:]
        self._shapes[shape] = _Denial(exists, head, question_end, tail, kind)

    def clear(self) -> None:
        self._shapes.clear()
