"""Each call as a value: what to ask, whether it may be asked again, what the answer means."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypedDict, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ..durations import parse_duration_s
from .errors import CallboardError, InvalidArgument, UnexpectedAnswer, error_for
from .results import Instance, Instances, KvPair, Member, Port, Renewal, ServiceSummary, Status

INDEX_HEADER: Final = "X-Callboard-Index"
ALL_NAMESPACES: Final = "*"
"""For watches of everything."""
RETRY_AFTER_S_MAX: Final = 60.0
"""A server that says more is kept waiting no longer than this."""

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", re.ASCII)

T = TypeVar("T")
PortLike = int | tuple[int, str] | Port


class Answer(NamedTuple):
    """A whole HTTP response; header names compare without case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One call. `path` and `query` are encoded; `decode` reads an answer below 400."""

    method: str
    path: str
    decode: Callable[[Answer], T]
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    repeatable: bool = True
    """Whether doing it twice is the same as doing it once."""
    missing: Callable[[], T] | None = None
    """What a 404 stands for, where that is no error."""
    missing_after_repeat: Callable[[], T] | None = None
    """The same, when an attempt before this one may already have done it."""

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def target(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


def interpret(request: Request[T], answer: Answer, *, repeated: bool = False) -> T:
    """The typed result. Raises the `CallboardError` that the answer stands for."""
    if answer.status == 404:
        missing = request.missing or (request.missing_after_repeat if repeated else None)
        if missing is not None:
            return missing()
    if answer.status >= 400:
        raise _error(answer)
    if answer.status >= 300:
        raise UnexpectedAnswer(
            f"the server sends us elsewhere ({answer.status}): name the right one",
            status=answer.status,
        )
    try:
        return request.decode(answer)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnexpectedAnswer(
            f"the answer to {request.method} {request.path} is not callboard's: {error}",
            status=answer.status,
        ) from error


def _error(answer: Answer) -> CallboardError:
    try:
        body = msgspec.json.decode(answer.body, type=dict[str, Any])["error"]
    except (msgspec.MsgspecError, KeyError):
        body = {}
    return error_for(
        answer.status,
        body if isinstance(body, dict) else {},
        _retry_after_s(answer.headers.get("Retry-After", "")),
    )


def _retry_after_s(text: str) -> float | None:
    """Seconds only: callboard sends no dates, and a wrong clock would make them harmful."""
    return min(float(text), RETRY_AFTER_S_MAX) if re.fullmatch(r"\d{1,6}(\.\d+)?", text) else None


def _segment(name: str, field: str) -> str:
    """A name in a path: checked here, because `..` would lead to another call altogether."""
    if _NAME.fullmatch(name) is None:
        raise InvalidArgument(
            f"{field}: {name!r} is no name: use 1-63 letters, digits, '-' and '_'", field=field
        )
    return quote(name, safe="")


def _instance_path(service: str, instance_id: str) -> str:
    return f"/v1/services/{_segment(service, 'service')}/instances/{_segment(instance_id, 'id')}"


def _namespace(namespace: str) -> list[tuple[str, str]]:
    return [("namespace", _segment(namespace, "namespace"))]


def duration_s(value: float | str, field: str) -> float:
    """Raises `InvalidArgument` that names `field`."""
    try:
        return parse_duration_s(value)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"{field}: {error}", field=field) from error


def _port(port: PortLike) -> dict[str, object]:
    if isinstance(port, Port):
        return {"port": port.port, "protocol": port.protocol}
    if isinstance(port, int):
        return {"port": port}
    return {"port": port[0], "protocol": port[1]}


class Described(TypedDict, total=False):
    """What a registration may say of its instance; see the contract for each."""

    address: str | None
    port: int | None
    ports: Mapping[str, PortLike] | None
    protocol: str | None
    tags: Sequence[str]
    meta: Mapping[str, str] | None
    node: str | None
    priority: int | None
    weight: int | None
    status: str | None


def put_instance(
    service: str,
    instance_id: str,
    *,
    address: str | None = None,
    port: int | None = None,
    ports: Mapping[str, PortLike] | None = None,
    protocol: str | None = None,
    tags: Sequence[str] = (),
    meta: Mapping[str, str] | None = None,
    node: str | None = None,
    priority: int | None = None,
    weight: int | None = None,
    ttl: float | str | None = None,
    status: str | None = None,
    output: str | None = None,
    namespace: str = "default",
) -> Request[Instance]:
    if isinstance(tags, str):
        raise InvalidArgument("tags: give a list, not one text", field="tags")
    fields = {
        "address": address,
        "port": port,
        "ports": {name: _port(value) for name, value in ports.items()} if ports else None,
        "protocol": protocol,
        "tags": list(tags) or None,
        "meta": dict(meta) if meta else None,
        "node": node,
        "priority": priority,
        "weight": weight,
        "ttl": None if ttl is None else duration_s(ttl, "ttl"),
        "status": status,
        "output": output,
    }
    try:
        body = msgspec.json.encode(
            {key: value for key, value in fields.items() if value is not None}
        )
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"the registration is no JSON: {error}") from error
    return Request(
        "PUT",
        _instance_path(service, instance_id),
        lambda answer: msgspec.json.decode(answer.body, type=Instance),
        query=_namespace(namespace),
        body=body,
    )


def heartbeat(
    service: str,
    instance_id: str,
    *,
    status: str | None = None,
    output: str | None = None,
    namespace: str = "default",
) -> Request[Renewal]:
    told = {"status": status, "output": output}
    body = {key: value for key, value in told.items() if value is not None}
    return Request(
        "PUT",
        _instance_path(service, instance_id) + "/heartbeat",
        lambda answer: msgspec.json.decode(answer.body, type=Renewal),
        query=_namespace(namespace),
        body=msgspec.json.encode(body) if body else None,
    )


def deregister(service: str, instance_id: str, *, namespace: str = "default") -> Request[None]:
    return Request(
        "DELETE",
        _instance_path(service, instance_id),
        lambda answer: None,
        query=_namespace(namespace),
        missing_after_repeat=lambda: None,
    )


class _InstancesBody(msgspec.Struct):
    instances: tuple[Instance, ...]


class _ServicesBody(msgspec.Struct):
    services: dict[str, ServiceSummary]


class _MembersBody(msgspec.Struct):
    members: tuple[Member, ...]


def instances(
    service: str,
    *,
    passing: bool = True,
    tag: str | None = None,
    meta: Mapping[str, str] | None = None,
    namespace: str = "default",
    consistency: str | None = None,
) -> Request[Instances]:
    query = _namespace(namespace)
    if passing:
        query.append(("passing", "true"))
    if tag is not None:
        query.append(("tag", tag))
    query += [(f"meta.{key}", value) for key, value in (meta or {}).items()]
    if consistency is not None:
        query.append(("consistency", consistency))

    def decode(answer: Answer) -> Instances:
        found = msgspec.json.decode(answer.body, type=_InstancesBody).instances
        return Instances(found, int(answer.headers.get(INDEX_HEADER, 0)))

    return Request(
        "GET", f"/v1/services/{_segment(service, 'service')}/instances", decode, query=query
    )


def services(*, namespace: str = "default") -> Request[dict[str, ServiceSummary]]:
    return Request(
        "GET",
        "/v1/services",
        lambda answer: msgspec.json.decode(answer.body, type=_ServicesBody).services,
        query=_namespace(namespace),
    )


def status() -> Request[Status]:
    return Request("GET", "/v1/status", lambda a: msgspec.json.decode(a.body, type=Status))


def members() -> Request[tuple[Member, ...]]:
    return Request(
        "GET",
        "/v1/cluster/members",
        lambda answer: msgspec.json.decode(answer.body, type=_MembersBody).members,
    )


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


def watch(service: str | None, namespace: str) -> Request[None]:
    query = [("namespace", "*")] if namespace == ALL_NAMESPACES else _namespace(namespace)
    if service is not None:
        query.append(("service", _segment(service, "service")))
    return Request("GET", "/v1/watch", lambda answer: None, query=query)


def save_snapshot() -> Request[None]:
    return Request("GET", "/v1/snapshot", lambda answer: None)


def restore_snapshot() -> Request[int]:
    """The index after it; the body is a file, given to the call."""
    return Request(
        "PUT",
        "/v1/snapshot",
        lambda answer: int(answer.headers.get(INDEX_HEADER, 0)),
        repeatable=False,
    )
