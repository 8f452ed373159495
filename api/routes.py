"""Every call of the API in one table: what it is called by, what it takes, what it answers."""

from functools import cache
from typing import Any, Final

from .answers import InstanceAnswer, InstancesAnswer, RenewalAnswer
from .batch import BatchAnswer, batch
from .call import Call
from .cluster import (
    MembersAnswer,
    TransferAnswer,
    add_member,
    list_members,
    remove_member,
    transfer,
)
from .docs import docs_page
from .heartbeats import HeartbeatsAnswer, renew_many
from .inputs import BatchBody, HeartbeatBody, HeartbeatsBody, InstanceBody, MemberBody
from .instances import deregister, of_service, one, register, register_with_made_id, renew
from .kv import KvAnswer, delete, get, put
from .openapi import describe
from .responses import Response, encode
from .router import Parameter, Route
from .services import ServicesAnswer, services
from .snapshots import MEDIA_TYPE, RestoredAnswer, restore, save
from .status import HealthAnswer, StatusAnswer, alive, metrics, ready, status
from .watch import watch

_INTEGER: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
_FLAG: Final[dict[str, Any]] = {"type": "boolean"}

NAMESPACE: Final = Parameter("namespace", "The namespace; `default` when left out.")
CONSISTENCY: Final = Parameter(
    "consistency",
    "`strong`: as of a moment not before the call, confirmed by a majority. `default`: this"
    " node's copy, refused when it is older than 5 s. `stale`: this node's copy, however old.",
    {"type": "string", "enum": ["default", "strong", "stale"]},
)
INDEX: Final = Parameter(
    "index", "Answer when the thing asked for has changed past this index.", _INTEGER
)
WAIT: Final = Parameter("wait", "How long to wait for that: `30s`, at most `10m`.")
READ: Final = (CONSISTENCY, INDEX, WAIT)

_SERVICE: Final = "/v1/services/{service}"
_INSTANCE: Final = f"{_SERVICE}/instances/{{id}}"


_INSTANCE_EXAMPLE: Final = {
    "address": "10.0.0.5",
    "port": 8080,
    "ports": {"metrics": {"port": 9100, "protocol": "tcp"}},
    "tags": ["v2"],
    "meta": {"zone": "a"},
    "ttl": "15s",
}
_BATCH_EXAMPLE: Final = {
    "operations": [
        {"op": "register", "service": "web", "id": "web-2", "address": "10.0.0.6", "port": 8080},
        {"op": "heartbeat", "service": "web", "id": "web-2", "status": "warning"},
        {"op": "deregister", "service": "web", "id": "web-2"},
    ]
}


async def description(call: Call) -> Response:
    return Response(call.registry, _encoded_description())


@cache
def _encoded_description() -> bytes:
    return encode(describe(ROUTES))


ROUTES: Final = (
    Route(
        "PUT",
        _INSTANCE,
        register,
        "Register or replace. An identical registration renews and writes nothing.",
        body=InstanceBody,
        answer=InstanceAnswer,
        parameters=(NAMESPACE,),
        statuses=(200, 201, 400, 413, 503),
        example=_INSTANCE_EXAMPLE,
    ),
    Route(
        "POST",
        f"{_SERVICE}/instances",
        register_with_made_id,
        "Register under a made id.",
        body=InstanceBody,
        answer=InstanceAnswer,
        parameters=(NAMESPACE,),
        statuses=(201, 400, 413, 503),
        example=_INSTANCE_EXAMPLE,
    ),
    Route(
        "PUT",
        f"{_INSTANCE}/heartbeat",
        renew,
        "Renew, and report a status. Writes only when the status or the output changes.",
        body=HeartbeatBody,
        answer=RenewalAnswer,
        parameters=(NAMESPACE,),
        statuses=(200, 400, 404, 503),
        example={"status": "warning", "output": "the queue is long"},
    ),
    Route(
        "DELETE",
        _INSTANCE,
        deregister,
        "Take off the board.",
        parameters=(NAMESPACE,),
        statuses=(204, 404, 503),
    ),
    Route(
        "GET",
        _INSTANCE,
        one,
        "One instance.",
        answer=InstanceAnswer,
        parameters=(NAMESPACE, *READ),
        statuses=(200, 404, 503),
    ),
    Route(
        "GET",
        f"{_SERVICE}/instances",
        of_service,
        "The instances of a service; `meta.KEY=VALUE` filters by metadata.",
        answer=InstancesAnswer,
        parameters=(
            NAMESPACE,
            Parameter("passing", "Only those that may get traffic.", _FLAG),
            Parameter("tag", "Only those with the tag; may be given more than once."),
            *READ,
        ),
        statuses=(200, 400, 503),
    ),
    Route(
        "GET",
        "/v1/services",
        services,
        "The services of a namespace.",
        answer=ServicesAnswer,
        parameters=(NAMESPACE, *READ),
        statuses=(200, 400, 503),
    ),
    Route(
        "POST",
        "/v1/heartbeats",
        renew_many,
        "Renew up to 10,000 instances.",
        body=HeartbeatsBody,
        answer=HeartbeatsAnswer,
        statuses=(200, 400, 413, 503),
        example={"instances": [["web", "web-1"], ["web", "web-1", "staging"]]},
    ),
    Route(
        "POST",
        "/v1/batch",
        batch,
        "Up to 1,000 operations, committed together, with one result each.",
        body=BatchBody,
        answer=BatchAnswer,
        statuses=(200, 400, 413, 503),
        example=_BATCH_EXAMPLE,
    ),
    Route(
        "GET",
        "/v1/watch",
        watch,
        "Server-sent events: `snapshot`, then `put` and `delete`, each with its index as id.",
        parameters=(
            Parameter("service", "Only this service."),
            Parameter("namespace", "The namespace; `*` for all."),
            Parameter("index", "Go on after this index instead of with a snapshot.", _INTEGER),
            CONSISTENCY,
        ),
        statuses=(200, 400, 503),
        media_type="text/event-stream",
    ),
    Route(
        "GET",
        "/v1/kv/{key...}",
        get,
        "Read a key, or everything under a prefix.",
        answer=list[KvAnswer | str],
        parameters=(
            Parameter("raw", "The value as it is.", _FLAG),
            Parameter("recurse", "Everything that starts with the key.", _FLAG),
            Parameter("keys", "Only the keys that start with the key.", _FLAG),
            Parameter("separator", "With `keys`: only up to the next separator."),
            *READ,
        ),
        statuses=(200, 404, 503),
    ),
    Route(
        "PUT",
        "/v1/kv/{key...}",
        put,
        "Store the body under a key.",
        body=bytes,
        answer=bool,
        parameters=(
            Parameter("flags", "Any number, kept beside the value.", _INTEGER),
            Parameter("cas", "Only if the modify index is this; 0: only if absent.", _INTEGER),
            Parameter("ttl", "Delete the key when it has not been stored again for so long."),
        ),
        statuses=(200, 400, 413, 503),
    ),
    Route(
        "DELETE",
        "/v1/kv/{key...}",
        delete,
        "Delete a key, or everything under a prefix.",
        answer=bool,
        parameters=(
            Parameter("recurse", "Everything that starts with the key.", _FLAG),
            Parameter("cas", "Only if the modify index is this.", _INTEGER),
        ),
        statuses=(200, 400, 503),
    ),
    Route("GET", "/v1/status", status, "How this node is.", answer=StatusAnswer),
    Route("GET", "/v1/cluster/members", list_members, "The members.", answer=MembersAnswer),
    Route(
        "POST",
        "/v1/cluster/members",
        add_member,
        "Add a member.",
        body=MemberBody,
        answer=MembersAnswer,
        statuses=(200, 400, 409, 503),
        example={"name": "node-b", "address": "10.0.0.2:8300"},
    ),
    Route(
        "DELETE",
        "/v1/cluster/members/{name}",
        remove_member,
        "Remove a member.",
        statuses=(204, 404, 409, 503),
    ),
    Route(
        "POST",
        "/v1/cluster/transfer",
        transfer,
        "Hand lease keeping and leadership to another node.",
        answer=TransferAnswer,
        statuses=(200, 409, 503),
    ),
    Route(
        "GET",
        "/v1/snapshot",
        save,
        "Save everything to a file.",
        statuses=(200, 503),
        media_type=MEDIA_TYPE,
    ),
    Route(
        "PUT",
        "/v1/snapshot",
        restore,
        "Make the board what the file holds.",
        body=bytes,
        answer=RestoredAnswer,
        statuses=(200, 400, 413, 503),
    ),
    Route("GET", "/healthz", alive, "The process is alive.", answer=HealthAnswer),
    Route(
        "GET",
        "/readyz",
        ready,
        "The engine is reachable and caught up.",
        answer=HealthAnswer,
        statuses=(200, 503),
    ),
    Route("GET", "/metrics", metrics, "Prometheus metrics.", media_type="text/plain"),
    Route("GET", "/openapi.json", description, "This description.", answer=dict),
    Route("GET", "/docs", docs_page, "This description as a page.", media_type="text/html"),
)
