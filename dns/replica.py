"""What a worker makes of the feed: a copy of the board that is whole before it is used."""

from typing import Any, Final

import msgpack

from .feed import FeedKind
from .freshness import Freshness
from .responder import Responder
from .store import Store

_MS: Final = 1000


class Replica:
    """Feeds a responder; bytes in, through `stream`. `synced`: there is a copy to answer from."""

    def __init__(
        self, responder: Responder, stream: msgpack.Unpacker, freshness: Freshness
    ) -> None:
        self.synced = False
        self._freshness = freshness
        self._responder = responder
        self._stream = stream
        self._next: Store | None = None

    def feed(self, data: bytes) -> None:
        self._stream.feed(data)
        for kind, index, items in self._stream:
            self._take(FeedKind(kind), index, items)

    def _take(self, kind: FeedKind, index: int, items: tuple[Any, ...]) -> None:
        if kind is FeedKind.BEGIN:
            self._next = self._responder.new_store()
        elif kind is FeedKind.HEARTBEAT:
            self._freshness.heard(items[0] / _MS)
        elif kind is FeedKind.END:
            assert self._next is not None, "an END without a BEGIN"
            self._responder.replace(index, self._next)
            self._next = None
            self.synced = True
        elif self._next is not None:
            _apply(self._next, items)
        else:
            _apply(self._responder.store, items)
            self._responder.changed(index or self._responder.index, items[::2])


def _apply(store: Store, items: tuple[bytes, ...]) -> None:
    pairs = iter(items)
    for key in pairs:
        store.apply(key, next(pairs))
