"""Packets that differ in the first label of their name alone: what their replies have in common.

What is remembered is the rest of such packets, how to find what is below a label
(`siblings.py`), and all of a reply that does not hang on the label. So a name that was never
asked before costs little more than one that was, and remembering by name is left to
`cache.ReplyCache`, for names that are asked again.
"""

import random
from collections.abc import Sequence
from typing import Final

from . import wire
from .answers import Answer, Siblings
from .cache import Origin, Ready
from .counters import kind_of
from .instances import SRV_TARGET_AT
from .query import Query
from .reply import HEAD, compile_reply, opt_record, ready_of, reply_flags
from .siblings import Sibling

SHAPES_MAX: Final = 4096
"""Zones, namespaces, types, label lengths and EDNS sizes that are asked in earnest are some
hundreds; whoever invents more makes us forget, not grow."""

_LABEL_AT: Final = wire.HEADER_BYTES - 2
"""Where the first label stands, with its length, in a packet without its id."""


class Shape:
    """The replies to packets like that of `query`, in at most `limit_bytes`."""

    def __init__(
        self, query: Query, siblings: Siblings, limit_bytes: int, recursion_available: bool
    ) -> None:
        self._query = query
        self._limit_bytes = limit_bytes
        self.find = siblings.find
        self._authority = siblings.authority
        self._recursion_available = recursion_available
        self._question_end = wire.HEADER_BYTES + len(query.question)
        self._opt = opt_record(query.edns, wire.NOERROR)
        self._opts = int(query.edns is not None)
        self._flags = reply_flags(query, wire.NOERROR, recursion_available)
        self._kind = kind_of(query.qtype, wire.NOERROR)
        self._negative: dict[bool, Ready] = {}

    def ready(self, sibling: Sibling) -> Ready | None:
        """The reply for once, in one order of its records; None when not all of it fits."""
        exists, records, glue, _ = sibling
        if not records:
            return self._negative.get(exists) or self._denied(sibling)
        count = len(records)
        if count > 1 and (start := int(random.random() * count)):
            records = [*records[start:], *records[:start]]
            glue = [*glue[start:], *glue[:start]]
        if glue:
            records = [*records, *self._pointed(records, glue)]
        tail = b"".join(records) + self._opt
        total = self._question_end + len(tail)
        if total > self._limit_bytes:
            return None
        head = HEAD.pack(self._flags, 1, count, 0, len(glue) + self._opts)
        return head, self._question_end, total, tail.__bytes__, self._kind

    def _pointed(self, records: Sequence[bytes], glue: Sequence[bytes]) -> list[bytes]:
        """The additional section, whose owners are the targets of `records`."""
        at = 0xC000 | (self._question_end + SRV_TARGET_AT)
        additional: list[bytes] = []
        for record, rr in zip(records, glue, strict=True):
            additional += (at.to_bytes(2, "big"), rr)
            at += len(record)
        return additional

    def lasting(self, sibling: Sibling) -> tuple[Ready, Origin]:
        """The reply in all its orders and whatever fits, which is worth its while if it is to be
        remembered."""
        exists, records, glue, service = sibling
        rcode = wire.NOERROR if exists else wire.NXDOMAIN
        authority = b"" if records else self._authority()
        glued = [(rr,) for rr in glue]
        answer = Answer(rcode, records, glued, SRV_TARGET_AT, authority, (service,), bool(records))
        compiled = compile_reply(answer, self._query, self._limit_bytes, self._recursion_available)
        return ready_of(self._query, compiled), Origin((service,), compiled.held_bytes, not records)

    def _denied(self, sibling: Sibling) -> Ready:
        self._negative[sibling[0]] = ready = self.lasting(sibling)[0]
        return ready


class Shapes:
    """Keys are packets without id, in lower case, as in `cache.ReplyCache`."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, Shape] = {}

    def __len__(self) -> int:
        return len(self._shapes)

    def find(self, key: bytes) -> tuple[Shape, Sibling] | None:
        """What the packet's reply can be made of, if it takes no closer look."""
        label_end = _LABEL_AT + 1 + key[_LABEL_AT] if len(key) > _LABEL_AT else 0
        shape = self._shapes.get(key[: _LABEL_AT + 1] + key[label_end:])
        if shape is None:
            return None
        sibling = shape.find(key[_LABEL_AT + 1 : label_end])
        return None if sibling is None else (shape, sibling)

    def has(self, key: bytes) -> bool:
        return _shape_of(key) in self._shapes

    def put(self, key: bytes, shape: Shape) -> None:
        """For the packet of `key`, and those like it."""
        if len(self._shapes) >= SHAPES_MAX:
            self._shapes.clear()
        self._shapes[_shape_of(key)] = shape

    def clear(self) -> None:
        self._shapes.clear()


def _shape_of(key: bytes) -> bytes:
    return key[: _LABEL_AT + 1] + key[_LABEL_AT + 1 + key[_LABEL_AT] :]
