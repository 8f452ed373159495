"""What bodies may hold, and how a registration in JSON becomes an instance."""

import re
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..durations import parse_duration_s
from ..registry import DEFAULT_NAMESPACE, TTL_NEVER, Instance, Port, Status, is_name
from ..registry.names import TAG_CHARS_MAX
from .errors import invalid

TTL_S_MIN: Final = 0.1
"""Shorter than the tick in which leases are swept would expire at once."""
TTL_S_MAX: Final = 30 * 24 * 3600.0
"""What lives longer than a month without a sign of life should say so with 0."""
HOST_CHARS_MAX: Final = 253
"""RFC 1035 section 2.3.4, as text and without the root's dot."""
PROTOCOL_CHARS_MAX: Final = 15
"""RFC 6335 section 5.1, as service names: it becomes `_PROTO` in the names of SRV records."""
TAGS_MAX: Final = 64
PORTS_MAX: Final = 64
META_PAIRS_MAX: Final = 64
META_KEY_CHARS_MAX: Final = 128
META_VALUE_CHARS_MAX: Final = 512
NODE_CHARS_MAX: Final = 128
OUTPUT_CHARS_MAX: Final = 4096
"""All of these so that a registration stays a page, whatever it is filled with."""
OPERATIONS_MAX: Final = 1000
RENEWALS_MAX: Final = 10_000
"""What one call takes: some 50 ms of the event loop at most."""

# In patterns `$` would let a line end through: what must end is said by `(?![\s\S])`, which
# JavaScript, and so the description of the API, understands as well.
_END: Final = r"(?![\s\S])"
_NO_CONTROLS: Final = rf"^[^\x00-\x1f\x7f]*{_END}"
_NO_NUL: Final = rf"^[^\x00]*{_END}"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)

PortNumber = Annotated[int, Meta(ge=1, le=65535)]
Share = Annotated[int, Meta(ge=0, le=65535)]
Protocol = Annotated[
    str,
    Meta(pattern=rf"^[A-Za-z0-9]([A-Za-z0-9-]{{0,{PROTOCOL_CHARS_MAX - 2}}}[A-Za-z0-9])?{_END}"),
]
PortName = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9]([A-Za-z0-9_-]{{0,61}}[A-Za-z0-9])?{_END}")]
Tag = Annotated[str, Meta(min_length=1, max_length=TAG_CHARS_MAX, pattern=_NO_CONTROLS)]
MetaKey = Annotated[str, Meta(min_length=1, max_length=META_KEY_CHARS_MAX, pattern=_NO_CONTROLS)]
MetaValue = Annotated[str, Meta(max_length=META_VALUE_CHARS_MAX, pattern=_NO_NUL)]
Output = Annotated[str, Meta(max_length=OUTPUT_CHARS_MAX, pattern=_NO_NUL)]
Duration = Annotated[
    float | str, Meta(description='Seconds, or a text with a unit: "500ms", "15s", "2m".')
]


class PortBody(msgspec.Struct, forbid_unknown_fields=True):
    port: PortNumber
    protocol: Protocol = "tcp"


Ports = Annotated[dict[PortName, PortBody | PortNumber], Meta(max_length=PORTS_MAX)]
MetaPairs = Annotated[dict[MetaKey, MetaValue], Meta(max_length=META_PAIRS_MAX)]


class InstanceBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A registration. What `GET` shows besides (`expires_in` and the indices) may be there and
    is ignored, so that an answer can be put back."""

    service: str | None = None
    namespace: str | None = None
    id: str | None = None
    address: str | None = None
    port: PortNumber | None = None
    ports: Ports = {}
    protocol: Protocol = "tcp"
    tags: Annotated[tuple[Tag, ...], Meta(max_length=TAGS_MAX)] = ()
    meta: MetaPairs = {}
    node: Annotated[str, Meta(max_length=NODE_CHARS_MAX, pattern=_NO_CONTROLS)] = ""
    priority: Share = 1
    weight: Share = 1
    ttl: Duration | None = None
    status: Status = Status.PASSING
    output: Output = ""
    expires_in: float | UnsetType | None = UNSET
    create_index: int | UnsetType = UNSET
    modify_index: int | UnsetType = UNSET


class RegisterOperation(InstanceBody, tag_field="op", tag="register"):
    """In a batch; `service` is required, `id` is made when it is left out."""


class NamedOperation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    service: str
    id: str
    namespace: str = DEFAULT_NAMESPACE


class DeregisterOperation(NamedOperation, tag_field="op", tag="deregister"):
    pass


class HeartbeatOperation(NamedOperation, tag_field="op", tag="heartbeat"):
    status: Status | None = None
    output: Output | None = None


class HeartbeatBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a renewal may change on the way; left out, nothing is written."""

    status: Status | None = None
    output: Output | None = None


class BatchBody(msgspec.Struct, forbid_unknown_fields=True):
    """Each operation is read on its own, so that a wrong one spoils only itself."""

    operations: Annotated[list[msgspec.Raw], Meta(max_length=OPERATIONS_MAX)]


class RenewedName(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """`["SERVICE", "ID"]` or `["SERVICE", "ID", "NAMESPACE"]`."""

    service: str
    id: str
    namespace: str = DEFAULT_NAMESPACE


class HeartbeatsBody(msgspec.Struct, forbid_unknown_fields=True):
    instances: Annotated[list[RenewedName], Meta(max_length=RENEWALS_MAX)]


class MemberBody(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    address: str


Operation = RegisterOperation | DeregisterOperation | HeartbeatOperation


def instance_of(
    body: InstanceBody,
    *,
    service: str,
    namespace: str,
    instance_id: str,
    peer_address: str,
    default_ttl_s: float,
) -> Instance:
    """The instance that `body` registers. The names are checked already."""
    return Instance(
        service=service,
        namespace=namespace,
        id=instance_id,
        address=peer_address if body.address is None else checked_address(body.address),
        port=body.port,
        ports=_ports(body.ports) if body.ports else {},
        protocol=body.protocol.lower(),
        tags=tuple(dict.fromkeys(body.tags)),
        meta=body.meta,
        node=body.node,
        priority=body.priority,
        weight=body.weight,
        ttl=default_ttl_s if body.ttl is None else checked_ttl_s(body.ttl),
        status=body.status,
        output=body.output,
    )


def agree(field: str, in_body: str, in_url: str) -> None:
    """Names may stand in the body as well as in the URL, but not differ."""
    if in_body.lower() != in_url.lower():
        raise invalid(
            field,
            f"the body says {in_body[:80]!r} and the URL {in_url!r}: leave it out of the body",
        )


def checked_ttl_s(value: float | str, field: str = "ttl") -> float:
    try:
        ttl_s = parse_duration_s(value) if isinstance(value, str) else float(value)
        if ttl_s >= TTL_S_MIN and ttl_s % 1:
            # To the millisecond, as it is shown: what is read and put back must change nothing.
            ttl_s = round(ttl_s, 3)
    except (ValueError, OverflowError) as error:
        raise invalid(field, str(error)) from error
    if ttl_s != TTL_NEVER and not TTL_S_MIN <= ttl_s <= TTL_S_MAX:
        raise invalid(
            field,
            f"{ttl_s:g} s: write 0 for a registration that stays, or {TTL_S_MIN:g} s to"
            f" {TTL_S_MAX:.0f} s (30 days)",
        )
    return ttl_s


def checked_address(address: str) -> str:
    """An IP address in its usual spelling, or a host name (RFC 1123 section 2.1).

    A name's last label is never a number, so that `10.1` or `999.0.0.1` are no host names.
    """
    try:
        # Ten times as fast as `ipaddress`, and as strict: no zone ids, no octal.
        if ":" in address:
            return inet_ntop(AF_INET6, inet_pton(AF_INET6, address))
        if address.rpartition(".")[2].isdigit():
            return inet_ntop(AF_INET, inet_pton(AF_INET, address))
    except (OSError, ValueError):
        return _no_address(address)
    name = address.removesuffix(".")
    if len(name) > HOST_CHARS_MAX or _HOST.fullmatch(name) is None:
        return _no_address(address)
    if name.rpartition(".")[2].isdigit():
        return _no_address(address)
    return name


def checked_name(field: str, name: str) -> str:
    if not is_name(name):
        raise invalid(
            field,
            f"{name[:80]!r} is no {field}: write 1 to 63 letters, digits, '-' and '_', the first"
            " and the last a letter or digit",
        )
    return name


def _no_address(address: str) -> str:
    raise invalid(
        "address",
        f"{address[:80]!r} is no IPv4 or IPv6 address and no host name; leave it out to register"
        " the address that the call comes from",
    )


def _ports(ports: dict[str, PortBody | int]) -> dict[str, Port]:
    return {
        name: Port(given) if isinstance(given, int) else Port(given.port, given.protocol.lower())
        for name, given in ports.items()
    }
