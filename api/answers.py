"""Instances and renewals as JSON, exactly as the contract shows them."""

import msgspec

from ..registry import HANDED_OUT, Listed, Port, Status


class PortAnswer(msgspec.Struct):
    port: int
    protocol: str


class InstanceAnswer(msgspec.Struct):
    """One instance. Times are seconds; `expires_in` is null for one that never expires, and on
    nodes that do not keep the leases: they do not know."""

    service: str
    namespace: str
    id: str
    address: str
    port: int | None
    ports: dict[str, PortAnswer]
    protocol: str
    tags: tuple[str, ...]
    meta: dict[str, str]
    node: str
    priority: int
    weight: int
    ttl: float | int
    status: Status
    output: str
    expires_in: float | int | None
    create_index: int
    modify_index: int


class InstancesAnswer(msgspec.Struct):
    instances: list[InstanceAnswer]


class RenewalAnswer(msgspec.Struct):
    ttl: float | int
    expires_in: float | int | None


def instance_answer(listed: Listed) -> InstanceAnswer:
    instance = listed.instance
    return InstanceAnswer(
        instance.service,
        instance.namespace,
        instance.id,
        instance.address,
        instance.port,
        _ports(instance.ports) if instance.ports else {},
        instance.protocol,
        instance.tags,
        instance.meta,
        instance.node,
        instance.priority,
        instance.weight,
        seconds(instance.ttl),
        instance.status,
        instance.output,
        None if listed.expires_in_s is None else seconds(listed.expires_in_s),
        listed.create_index,
        listed.modify_index,
    )


def renewal_answer(ttl_s: float, expires_in_s: float | None) -> RenewalAnswer:
    return RenewalAnswer(seconds(ttl_s), None if expires_in_s is None else seconds(expires_in_s))


def is_handed_out(listed: Listed) -> bool:
    return listed.instance.status in HANDED_OUT


def seconds(value: float) -> float | int:
    """To the millisecond, and without a fraction when there is none."""
    whole = int(value)
    if whole == value:
        return whole
    rounded = round(value, 3)
    return int(rounded) if rounded == int(rounded) else rounded


def _ports(ports: dict[str, Port]) -> dict[str, PortAnswer]:
    return {name: PortAnswer(named.port, named.protocol) for name, named in ports.items()}
