"""The KV store in Consul's dialect."""

import base64
from typing import Final

import msgspec
from aiohttp import web

from ..registry import KvPair, KvTopic
from ..registry.kv import VALUE_BYTES_MAX
from ..registry.names import KV_KEY_BYTES_MAX
from .call import Call
from .errors import ApiError, invalid
from .inputs import checked_ttl_s
from .responses import Response, answer, encode
from .streaming import stream

FLAGS_MAX: Final = 2**64 - 1
PAIRS_PER_PART: Final = 64
"""Of a streamed listing: values may be large."""
KEYS_PER_PART: Final = 10_000
"""Keys are small: a part takes a few milliseconds of the event loop."""

_LOCKS: Final = ("acquire", "release")
_NO_PAGE: Final = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
"""A value is never a page of somebody's making under this origin."""


class KvAnswer(msgspec.Struct, rename="pascal"):
    """`value` is base64, null when it is empty; `lock_index` is always 0."""

    lock_index: int
    key: str
    flags: int
    value: str | None
    create_index: int
    modify_index: int


async def get(call: Call) -> Response | web.StreamResponse:
    recurse, keys = call.flag("recurse"), call.flag("keys")
    key = _key(call, may_be_empty=recurse or keys)
    await call.ready_to_read(KvTopic(key, recurse=recurse or keys))
    if keys:
        return await _keys(call, key)
    if recurse:
        return await _recurse(call, key)
    pair = call.registry.kv_get(key)
    if pair is None:
        raise _unknown(call, key)
    if call.flag("raw"):
        binary = "application/octet-stream"
        extra = {**_index(call), **_NO_PAGE}
        return Response(call.registry, pair.value, content_type=binary, extra=extra)
    return answer(call.registry, [_shown(pair)], extra=_index(call))


async def put(call: Call) -> Response:
    key = _key(call)
    for lock in _LOCKS:
        if call.parameter(lock) is not None:
            # To store and answer `true` would hand one lock to everybody who asks for it.
            raise invalid(lock, "there are no sessions and locks here: store with cas and ttl")
    call.check_coding()
    ttl = call.parameter("ttl")
    stored = await call.registry.kv_put(
        key,
        await call.body(VALUE_BYTES_MAX),
        flags=call.number("flags", FLAGS_MAX) or 0,
        cas=call.number("cas"),
        ttl_s=None if ttl is None else checked_ttl_s(ttl),
    )
    return answer(call.registry, stored)


async def delete(call: Call) -> Response:
    recurse = call.flag("recurse")
    key = _key(call, may_be_empty=recurse)
    if recurse:
        await call.registry.kv_delete_prefix(key)
        return answer(call.registry, True)
    return answer(call.registry, await call.registry.kv_delete(key, cas=call.number("cas")))


async def _keys(call: Call, prefix: str) -> web.StreamResponse:
    found = call.registry.kv_keys(prefix)
    separator = call.parameter("separator")
    if separator:
        found = list(dict.fromkeys(_up_to(key, len(prefix), separator) for key in found))
    if not found:
        raise _unknown(call, prefix)
    parts = (
        encode(found[start : start + KEYS_PER_PART])[1:-1]
        for start in range(0, len(found), KEYS_PER_PART)
    )
    return await stream(call, b"[", parts, b"]", _index(call))


def _up_to(key: str, start: int, separator: str) -> str:
    """The key as far as the first separator behind the prefix, as a directory listing."""
    at = key.find(separator, start)
    return key if at < 0 else key[: at + len(separator)]


async def _recurse(call: Call, prefix: str) -> web.StreamResponse:
    pairs = call.registry.kv_list(prefix)
    if not pairs:
        raise _unknown(call, prefix)
    parts = (
        b",".join(encode(_shown(pair)) for pair in pairs[start : start + PAIRS_PER_PART])
        for start in range(0, len(pairs), PAIRS_PER_PART)
    )
    return await stream(call, b"[", parts, b"]", _index(call))


def _shown(pair: KvPair) -> KvAnswer:
    value = base64.b64encode(pair.value).decode("ascii") if pair.value else None
    return KvAnswer(0, pair.key, pair.flags, value, pair.create_index, pair.modify_index)


def _key(call: Call, *, may_be_empty: bool = False) -> str:
    key = call.parts[0]
    if not key and not may_be_empty:
        raise invalid("key", "the key is empty: write /v1/kv/KEY")
    if len(key.encode()) > KV_KEY_BYTES_MAX:
        raise invalid("key", f"the key is longer than {KV_KEY_BYTES_MAX} bytes: shorten it")
    return key


def _index(call: Call) -> dict[str, str]:
    """What Consul's clients look for, on a 404 too, and wait with; a 0 means none to them."""
    return {"X-Consul-Index": str(max(call.registry.index, 1))}


def _unknown(call: Call, key: str) -> ApiError:
    return ApiError(404, "unknown_key", f"there is nothing under {key!r}", headers=_index(call))
