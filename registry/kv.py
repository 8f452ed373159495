"""The KV side of the board: keys in order, values as the engine stores them."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final

import msgspec

from .departures import Departures
from .instance import DamagedValue
from .views import KvPair, KvTopic

VALUE_BYTES_MAX: Final = 512 * 1024
"""Consul's limit, and far below etcd's for a request."""


class StoredKv(msgspec.Struct, frozen=True, array_like=True):
    """What the engine keeps under a KV key. `ttl_s` 0: stays until deleted."""

    flags: int
    ttl_s: float
    value: bytes


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(StoredKv)


def encode_kv(stored: StoredKv) -> bytes:
    return _encoder.encode(stored)


def decode_kv(value: bytes) -> StoredKv:
    """Raises `DamagedValue`."""
    try:
        return _decoder.decode(value)
    except msgspec.DecodeError as error:
        raise DamagedValue(str(error)) from error


class KvStore:
    """Changes in, pairs out. Keys are case-sensitive; prefixes are plain string prefixes."""

    def __init__(self) -> None:
        self._pairs: dict[str, KvPair] = {}
        self._ordered: list[str] = []
        self._gone: Departures[str] = Departures()
        self._loaded_index = 0
        self._modify_index = 0

    def __len__(self) -> int:
        return len(self._pairs)

    def loaded(self, index: int) -> None:
        """Say that all changes up to `index` have been loaded: which they were is not known."""
        self._ordered = sorted(self._pairs)
        self._loaded_index = self._modify_index = index
        self._gone.reset(index)

    def load(self, pair: KvPair) -> None:
        """Add a pair while loading; `loaded` puts the keys in order once."""
        self._pairs[pair.key] = pair

    def put(self, pair: KvPair) -> None:
        if pair.key not in self._pairs:
            insort(self._ordered, pair.key)
            self._gone.came_back(pair.key)
        self._pairs[pair.key] = pair
        self._modify_index = pair.modify_index

    def remove(self, key: str, index: int) -> KvPair | None:
        last = self._pairs.pop(key, None)
        if last is not None:
            del self._ordered[bisect_left(self._ordered, key)]
            self._gone.went(key, index)
            self._modify_index = index
        return last

    def get(self, key: str) -> KvPair | None:
        return self._pairs.get(key)

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix`, in order."""
        for position in range(bisect_left(self._ordered, prefix), len(self._ordered)):
            key = self._ordered[position]
            if not key.startswith(prefix):
                return
            yield key

    def pairs(self, prefix: str) -> list[KvPair]:
        return [self._pairs[key] for key in self.keys(prefix)]

    def modify_index(self, topic: KvTopic) -> int:
        """When what `topic` names last changed; never too low, after a restart perhaps too high."""
        if not topic.recurse:
            pair = self._pairs.get(topic.key)
            if pair is None:
                return self._gone.index(topic.key)
            return max(pair.modify_index, self._loaded_index)
        if not topic.key:
            return self._modify_index
        present = (self._pairs[key].modify_index for key in self.keys(topic.key))
        gone = (index for key, index in self._gone.items() if key.startswith(topic.key))
        return max(self._loaded_index, self._gone.floor, *present, *gone)
