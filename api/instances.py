"""Registering, renewing, listing and taking off single instances."""

import secrets
from collections.abc import Iterator
from typing import Final

import msgspec
from aiohttp import web

from ..registry import DEFAULT_NAMESPACE, Heartbeat, Listed, ServiceTopic
from .answers import instance_answer, is_handed_out, renewal_answer
from .call import Call
from .errors import unknown_instance
from .inputs import HeartbeatBody, InstanceBody, agree, checked_name, instance_of
from .responses import Response, answer, encode, no_content
from .streaming import stream

REGISTRATION_BYTES_MAX: Final = 64 * 1024
"""As JSON. The registry's own limit is on what it stores, which is smaller."""
HEARTBEAT_BYTES_MAX: Final = 64 * 1024
"""An output of 4,096 characters, every one of them escaped as a pair of surrogates."""
ID_BYTES: Final = 8
"""Of a made id: among a million instances the odds of a second one are 1 in 10^7."""
_META: Final = "meta."

_instance_body: Final = msgspec.json.Decoder(InstanceBody)
_heartbeat_body: Final = msgspec.json.Decoder(HeartbeatBody)


async def register(call: Call) -> Response:
    service, instance_id = call.parts
    checked_name("service", service)
    checked_name("id", instance_id)
    body = await call.json(_instance_body, REGISTRATION_BYTES_MAX)
    if body.id is not None:
        agree("id", body.id, instance_id)
    return await _register(call, body, service, instance_id)


async def register_with_made_id(call: Call) -> Response:
    service = checked_name("service", call.parts[0])
    body = await call.json(_instance_body, REGISTRATION_BYTES_MAX)
    instance_id = made_id(service) if body.id is None else checked_name("id", body.id)
    return await _register(call, body, service, instance_id, locate=True)


def made_id(service: str) -> str:
    """For an instance that came without one."""
    return f"{service[:40]}-{secrets.token_hex(ID_BYTES)}"


async def _register(
    call: Call, body: InstanceBody, service: str, instance_id: str, *, locate: bool = False
) -> Response:
    if body.service is not None:
        agree("service", body.service, service)
    namespace = call.parameter("namespace") or body.namespace or DEFAULT_NAMESPACE
    if namespace is not DEFAULT_NAMESPACE:
        checked_name("namespace", namespace)
        if body.namespace is not None:
            agree("namespace", body.namespace, namespace)
    instance = instance_of(
        body,
        service=service,
        namespace=namespace,
        instance_id=instance_id,
        peer_address=call.peer_address if body.address is None else "",
        default_ttl_s=call.registry.default_ttl_s,
    )
    registered = await call.registry.register(instance)
    shown = instance_answer(registered.listed)
    extra = None
    if locate:
        query = "" if namespace == DEFAULT_NAMESPACE else f"?namespace={namespace}"
        extra = {"Location": f"/v1/services/{shown.service}/instances/{shown.id}{query}"}
    return answer(call.registry, shown, 201 if registered.created else 200, extra)


async def renew(call: Call) -> Response:
    name = call.instance_name
    body = await call.json(_heartbeat_body, HEARTBEAT_BYTES_MAX)
    renewal = await call.registry.heartbeat(Heartbeat(name, body.status, body.output))
    if renewal is None:
        raise unknown_instance(*call.parts, renewing=True)
    return answer(call.registry, renewal_answer(*renewal))


async def deregister(call: Call) -> Response:
    if not await call.registry.deregister(call.instance_name):
        raise unknown_instance(*call.parts)
    return no_content(call.registry)


async def one(call: Call) -> Response:
    name = call.instance_name

    def is_news(index: int) -> bool:
        """The service has changed: has this one, or may it just have gone?"""
        now = call.registry.instance(name)
        return now is None or now.modify_index > index

    await call.ready_to_read(ServiceTopic(name.namespace, name.service), is_news)
    listed = call.registry.instance(name)
    if listed is None:
        raise unknown_instance(*call.parts)
    return answer(call.registry, instance_answer(listed))


async def of_service(call: Call) -> Response | web.StreamResponse:
    """The instances of a service that pass every filter; of an unknown service, none."""
    service = checked_name("service", call.parts[0])
    topic = ServiceTopic(call.namespace.lower(), service.lower())
    wanted = _Filter(call)
    await call.ready_to_read(topic)
    pages = call.registry.listing(topic)
    first = _page(next(pages, []), wanted)
    if (second := next(pages, None)) is None:
        body = b"".join((b'{"instances":[', first, b"]}"))
        return Response(call.registry, body)

    def parts() -> Iterator[bytes]:
        yield first
        yield _page(second, wanted)
        for page in pages:
            yield _page(page, wanted)

    return await stream(call, b'{"instances":[', parts(), b"]}")


def _page(page: list[Listed], wanted: "_Filter") -> bytes:
    return b",".join(encode(instance_answer(listed)) for listed in page if wanted(listed))


class _Filter:
    """`?passing`, `?tag=` (all of them) and `?meta.KEY=VALUE`."""

    def __init__(self, call: Call) -> None:
        self._passing = call.flag("passing")
        self._tags = frozenset(call.query.get("tag", ()))
        self._meta = [
            (name.removeprefix(_META), value)
            for name, values in call.query.items()
            if name.startswith(_META)
            for value in values
        ]

    def __call__(self, listed: Listed) -> bool:
        if self._passing and not is_handed_out(listed):
            return False
        if not self._tags <= frozenset(listed.instance.tags):
            return False
        meta = listed.instance.meta
        return all(meta.get(key) == value for key, value in self._meta)
