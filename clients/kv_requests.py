"""The calls of the key-value store, in Consul's dialect."""

import base64
from urllib.parse import quote

import msgspec

from .errors import InvalidArgument
from .request import Answer, Request, duration_s
from .results import KvPair


class _StoredKv(msgspec.Struct, rename="pascal"):
    key: str
    value: str | None
    flags: int
    create_index: int
    modify_index: int


def _kv_pairs(answer: Answer) -> list[KvPair]:
    return [
        KvPair(
            pair.key,
            base64.b64decode(pair.value or "", validate=True),
            pair.flags,
            pair.create_index,
            pair.modify_index,
        )
        for pair in msgspec.json.decode(answer.body, type=list[_StoredKv])
    ]


def _kv_path(key: str) -> str:
    """Dots are encoded where a whole segment is `.` or `..`: paths are shortened on their way."""
    segments = [quote(part, safe="") for part in key.split("/")]
    return "/v1/kv/" + "/".join(
        part.replace(".", "%2E") if part in (".", "..") else part for part in segments
    )


def _key(key: str) -> str:
    if not key:
        raise InvalidArgument("key: it is empty", field="key")
    return _kv_path(key)


def kv_get(key: str) -> Request[KvPair | None]:
    return Request("GET", _key(key), lambda answer: _kv_pairs(answer)[0], missing=lambda: None)


def kv_list(prefix: str) -> Request[list[KvPair]]:
    return Request("GET", _kv_path(prefix), _kv_pairs, query=[("recurse", "true")], missing=list)


def kv_keys(prefix: str, separator: str | None) -> Request[list[str]]:
    query = [("keys", "true")]
    if separator:
        query.append(("separator", separator))
    return Request(
        "GET",
        _kv_path(prefix),
        lambda answer: msgspec.json.decode(answer.body, type=list[str]),
        query=query,
        missing=list,
    )


def _is_true(answer: Answer) -> bool:
    return msgspec.json.decode(answer.body, type=bool)


def kv_put(
    key: str,
    value: bytes | str,
    *,
    flags: int = 0,
    ttl: float | str | None = None,
    cas: int | None = None,
) -> Request[bool]:
    query = [("flags", str(flags))] if flags else []
    if ttl is not None:
        query.append(("ttl", f"{duration_s(ttl, 'ttl'):.9g}s"))
    if cas is not None:
        query.append(("cas", str(cas)))
    body = value.encode() if isinstance(value, str) else bytes(value)
    # A compare-and-set that is repeated compares with what its first attempt has written.
    return Request("PUT", _key(key), _is_true, query=query, body=body, repeatable=cas is None)


def kv_delete(key: str, *, recurse: bool = False, cas: int | None = None) -> Request[bool]:
    query = [("recurse", "true")] if recurse else []
    if cas is not None:
        query.append(("cas", str(cas)))
    path = _kv_path(key) if recurse else _key(key)
    return Request("DELETE", path, _is_true, query=query, repeatable=cas is None)
