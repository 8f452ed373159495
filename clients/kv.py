"""The key-value store, from coroutines."""

from typing import Protocol, TypeVar

from . import kv_requests
from .request import Request
from .results import KvPair

T = TypeVar("T")
Pairs = list[KvPair]
Keys = list[str]


class Call(Protocol):
    async def __call__(self, request: Request[T], timeout: float | None) -> T: ...


class AsyncKv:
    """`client.kv`. Values are bytes; a text is stored as UTF-8. All raise `CallboardError`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def get(self, key: str, *, timeout: float | None = None) -> KvPair | None:
        """None when there is no such key."""
        return await self._call(kv_requests.kv_get(key), timeout)

    async def put(
        self,
        key: str,
        value: bytes | str,
        *,
        flags: int = 0,
        ttl: float | str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Store; with `ttl` (seconds, or "15s") it goes by itself unless it is put again."""
        await self._call(kv_requests.kv_put(key, value, flags=flags, ttl=ttl), timeout)

    async def cas(
        self,
        key: str,
        value: bytes | str,
        index: int,
        *,
        flags: int = 0,
        ttl: float | str | None = None,
        timeout: float | None = None,
    ) -> bool:
        """Store if `key` is still at `index` (0: if it does not exist); False when it is not.

        `OutcomeUnknown` when the connection broke: read before you repeat it.
        """
        request = kv_requests.kv_put(key, value, flags=flags, ttl=ttl, cas=index)
        return await self._call(request, timeout)

    async def delete(
        self,
        key: str,
        *,
        recurse: bool = False,
        cas: int | None = None,
        timeout: float | None = None,
    ) -> bool:
        """False only when `cas` did not hold. `recurse` deletes all that start with `key`."""
        return await self._call(kv_requests.kv_delete(key, recurse=recurse, cas=cas), timeout)

    async def list(self, prefix: str = "", *, timeout: float | None = None) -> Pairs:
        """All pairs whose key starts with `prefix`."""
        return await self._call(kv_requests.kv_list(prefix), timeout)

    async def keys(
        self, prefix: str = "", *, separator: str | None = None, timeout: float | None = None
    ) -> Keys:
        """The keys alone; with `separator` only up to the next one, as a directory listing."""
        return await self._call(kv_requests.kv_keys(prefix, separator), timeout)
