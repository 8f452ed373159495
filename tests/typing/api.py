"""How the client is used; `mypy --strict` must accept every line, and know every type."""

from typing import assert_type

from callboard import (
    AsyncClient,
    AsyncRegistration,
    CallboardError,
    Client,
    DeleteEvent,
    Event,
    Instance,
    Instances,
    InvalidArgument,
    KvPair,
    Member,
    NotFound,
    Peer,
    Policy,
    PutEvent,
    Registration,
    Renewal,
    ServiceSummary,
    SnapshotEvent,
    Status,
    Unavailable,
)


def is_ready() -> bool:
    return True


def how_it_is() -> tuple[str, str]:
    return "warning", "disk nearly full"


async def is_ready_soon() -> bool:
    return True


def told(event: Event) -> str:
    match event:
        case SnapshotEvent(instances=found, resync=resync):
            assert_type(found, tuple[Instance, ...])
            assert_type(resync, bool)
            return "snapshot"
        case PutEvent(instance=instance):
            return instance.endpoint
        case DeleteEvent(instance=instance, reason=reason):
            return f"{instance.id} {reason}"


def without_await() -> None:
    with Client("http://127.0.0.1:8500") as board:
        with board.register(
            "web", port=8080, ttl=15, tags=["v2"], check=is_ready, ports={"metrics": 9100}
        ) as registration:
            assert_type(registration, Registration)
            assert_type(registration.instance, Instance)
            registration.set_status("maintenance", "new disk")
        assert_type(board.register("web", check=how_it_is, ttl="15s"), Registration)
        policy: Policy = "least-used"
        with board.pick("db", policy=policy, tag="primary") as peer:
            assert_type(peer, Peer)
            assert_type(peer.address, str)
            assert_type(peer.port, int | None)
            assert_type(peer.age_s, float)
        for event in board.watch("db"):
            told(event)
        found = board.instances("web", passing=False, meta={"zone": "a"}, timeout=2.5)
        assert_type(found, Instances)
        assert_type(found[0], Instance)
        assert_type([instance.weight for instance in found], list[int])
        assert_type(board.services(), dict[str, ServiceSummary])
        assert_type(board.kv.get("key"), KvPair | None)
        assert_type(board.kv.cas("key", "value", 3), bool)
        assert_type(board.kv.list("prefix"), list[KvPair])
        assert_type(board.status(), Status)
        assert_type(board.members(), tuple[Member, ...])
        assert_type(board.snapshot.save("file", force=True), int)
        try:
            board.deregister("web", "web-1", namespace="other")
        except NotFound as error:
            assert_type(error.code, str)
        except InvalidArgument as error:
            assert_type(error.field, str)
        except Unavailable as error:
            assert_type(error.retry_after_s, float | None)
        except CallboardError as error:
            assert_type(error.status, int | None)


async def with_await() -> None:
    async with AsyncClient(["http://a:8500", "http://b:8500"], timeout=3) as board:
        async with board.register("web", port=8080, check=is_ready_soon) as registration:
            assert_type(registration, AsyncRegistration)
        kept = await board.register("web", id="web-2", check=is_ready)
        assert_type(kept, AsyncRegistration)
        await kept.close()
        assert_type(await board.pick("db", policy="weighted"), Peer)
        async for event in board.watch(namespace="other"):
            told(event)
        assert_type(await board.heartbeat("web", "web-1", status="passing"), Renewal)
        assert_type(await board.put_instance("web", "web-1", address="10.0.0.5"), Instance)
        assert_type(await board.kv.keys("a/", separator="/"), list[str])
