"""The calls of the board: registrations, listings, watches, the node itself."""

from collections.abc import Mapping, Sequence
from typing import Final, TypedDict
from urllib.parse import quote

import msgspec

from .errors import InvalidArgument
from .request import Answer, Request, duration_s, segment
from .results import Instance, Instances, Member, Port, Renewal, ServiceSummary, Status, Transfer

INDEX_HEADER: Final = "X-Callboard-Index"
ALL_NAMESPACES: Final = "*"
"""For watches of everything."""

PortLike = int | tuple[int, str] | Port


def _instance_path(service: str, instance_id: str) -> str:
    return f"/v1/services/{segment(service, 'service')}/instances/{segment(instance_id, 'id')}"


def _namespace(namespace: str) -> list[tuple[str, str]]:
    return [("namespace", segment(namespace, "namespace"))]


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
        "GET", f"/v1/services/{segment(service, 'service')}/instances", decode, query=query
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


def add_member(name: str, address: str) -> Request[tuple[Member, ...]]:
    return Request(
        "POST",
        "/v1/cluster/members",
        lambda answer: msgspec.json.decode(answer.body, type=_MembersBody).members,
        body=msgspec.json.encode({"name": name, "address": address}),
        repeatable=False,
    )


def remove_member(name: str) -> Request[None]:
    """`name` may have dots, as host names do, or be the address of one that never started."""
    if not name or "/" in name or not name.strip("."):
        raise InvalidArgument(f"name: {name!r} cannot name a member", field="name")
    path = f"/v1/cluster/members/{quote(name, safe='')}"
    return Request("DELETE", path, lambda answer: None, repeatable=False)


def transfer() -> Request[Transfer]:
    return Request(
        "POST",
        "/v1/cluster/transfer",
        lambda answer: msgspec.json.decode(answer.body, type=Transfer),
        repeatable=False,
    )


def watch(service: str | None, namespace: str) -> Request[None]:
    query = [("namespace", "*")] if namespace == ALL_NAMESPACES else _namespace(namespace)
    if service is not None:
        query.append(("service", segment(service, "service")))
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
