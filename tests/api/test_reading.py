"""Listings, their filters, consistency and blocking reads."""

import asyncio

import pytest

from .conftest import until
from .test_http import request

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def register(board, service, instance_id="one", **body):
    query = f"?namespace={body.pop('namespace')}" if "namespace" in body else ""
    put = await board("PUT", f"/v1/services/{service}/instances/{instance_id}{query}", body)
    assert put.status in (200, 201), put.body
    return put


async def ids(board, path):
    got = await board("GET", path)
    assert got.status == 200, got.body
    assert list(got.json) == ["instances"]
    return [instance["id"] for instance in got.json["instances"]]


async def waiting(board, topics=1):
    """Let the blocking reads that were begun reach the registry."""
    await until(lambda: len(board.registry._board.watches._waiters) >= topics)


async def test_an_unknown_service_is_an_empty_list(board, service):
    got = await board("GET", f"/v1/services/{service}/instances")
    assert (got.status, got.json) == (200, {"instances": []})


async def test_passing_leaves_out_what_must_not_get_traffic(board, service):
    for status in ("passing", "warning", "critical", "maintenance"):
        await register(board, service, status, status=status)
    path = f"/v1/services/{service}/instances"
    every = ["passing", "warning", "critical", "maintenance"]
    assert await ids(board, path) == every
    for on in ("?passing", "?passing=", "?passing=1", "?passing=true"):
        assert await ids(board, path + on) == ["passing", "warning"]
    for off in ("?passing=false", "?passing=0", "?other=1"):
        assert await ids(board, path + off) == every


async def test_tags_and_meta_narrow_and_all_must_hold(board, service):
    await register(board, service, "a", tags=["v1", "blue"], meta={"zone": "a", "x y": "é&"})
    await register(board, service, "b", tags=["v1"], meta={"zone": "b"})
    path = f"/v1/services/{service}/instances"
    assert await ids(board, f"{path}?tag=v1") == ["a", "b"]
    assert await ids(board, f"{path}?tag=v1&tag=blue") == ["a"]
    assert await ids(board, f"{path}?tag=V1") == []
    assert await ids(board, f"{path}?meta.zone=b") == ["b"]
    assert await ids(board, f"{path}?meta.zone=b&tag=blue") == []
    assert await ids(board, f"{path}?meta.x%20y=%C3%A9%26") == ["a"]
    assert await ids(board, f"{path}?meta.zone=") == []


async def test_services_are_summed_up_by_namespace(board, service):
    space = f"space-{service}"
    await register(board, "Web", "1", namespace=space, tags=["b", "a"])
    await register(board, "web", "2", namespace=space, tags=["a", "c"], status="critical")
    await register(board, "db", "1", namespace=space, status="maintenance")
    got = await board("GET", f"/v1/services?namespace={space.upper()}")
    assert got.json == {
        "services": {
            "Web": {"instances": 2, "passing": 1, "tags": ["a", "b", "c"]},
            "db": {"instances": 1, "passing": 0, "tags": []},
        }
    }
    assert got.index > 0
    assert (await board("GET", "/v1/services?namespace=nobody")).json == {"services": {}}


async def test_listings_of_several_pages_are_whole_and_json(board, service):
    space = f"space-{service}"
    for start in (0, 1000, 2000):
        numbers = range(start, min(start + 1000, 2500))
        named = [{"service": service, "id": f"i{n}"} for n in numbers]
        await batch(board, space, named)
        await batch(board, space, [{"service": f"s{n}", "id": "one"} for n in numbers])
    listed = await ids(board, f"/v1/services/{service}/instances?namespace={space}")
    assert listed == [f"i{n}" for n in range(2500)]
    narrowed = await ids(board, f"/v1/services/{service}/instances?namespace={space}&tag=none")
    assert narrowed == []
    got = await board("GET", f"/v1/services?namespace={space}")
    assert set(got.json["services"]) == {service, *(f"s{n}" for n in range(2500))}


async def batch(board, namespace, named):
    operations = [{"op": "register", "namespace": namespace, **names} for names in named]
    done = await board("POST", "/v1/batch", {"operations": operations})
    assert {result["status"] for result in done.json["results"]} == {201}


@pytest.mark.parametrize("consistency", ["default", "strong", "stale", ""])
async def test_every_consistency_sees_its_own_writes(board, service, consistency):
    await register(board, service)
    assert await ids(board, f"/v1/services/{service}/instances?consistency={consistency}") == [
        "one"
    ]


async def test_default_reads_are_refused_when_the_engine_is_not_heard_from(own_board, service):
    await register(own_board, service)
    own_board.engine.staleness_ms = lambda: 5001.0
    paths = ["/v1/services", f"/v1/services/{service}/instances", "/v1/watch", "/v1/kv/?keys"]
    for path in [*paths, f"/v1/services/{service}/instances/one"]:
        refused = await own_board("GET", path)
        assert refused.error == (503, "too_stale", None), path
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["X-Callboard-Staleness-Ms"] == "5001"
    stale = f"/v1/services/{service}/instances?consistency=stale"
    assert await ids(own_board, stale) == ["one"]
    own_board.engine.staleness_ms = lambda: 4999.0
    assert await ids(own_board, f"/v1/services/{service}/instances") == ["one"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(("consistency=eventual", "consistency"), ("index=x", "index"), ("index=-1", "index")),
        *(("index=1.5", "index"), ("index=" + "9" * 30, "index"), ("index=", "index")),
        *(("wait=abc", "wait"), ("wait=-1s", "wait"), ("wait=10y", "wait"), ("wait=", "wait")),
        *(("index=%D9%A3", "index"), ("tag=%ff", "query"), ("&".join(["a=1"] * 201), "query")),
        ("namespace=a/b", "namespace"),
    ],
)
async def test_a_malformed_parameter_is_named(board, service, query, field):
    refused = await board("GET", f"/v1/services/{service}/instances?{query}")
    assert refused.error == (400, "invalid_input", field)


async def test_a_blocking_read_answers_when_the_service_changes(board, service):
    index = (await register(board, service)).index
    path = f"/v1/services/{service}/instances?index={index}&wait=60s"
    read = asyncio.create_task(ids(board, path))
    await waiting(board)
    await register(board, f"other-{service}")
    assert not read.done()
    await register(board, service, "two")
    assert await read == ["one", "two"]


async def test_a_blocking_read_of_something_newer_answers_at_once(board, service):
    index = (await register(board, service)).index
    for query in (f"?index={index - 1}&wait=60s", "?index=0&wait=60s", "?wait=60s"):
        assert await ids(board, f"/v1/services/{service}/instances{query}") == ["one"]


async def test_a_blocking_read_answers_unchanged_when_the_wait_is_over(board, service):
    index = (await register(board, service)).index
    for wait in ("1ms", "0", "0s"):
        path = f"/v1/services/{service}/instances?index={index}&wait={wait}"
        assert await ids(board, path) == ["one"]


async def test_blocking_reads_wake_for_services_an_instance_and_keys(board, service):
    space = f"space-{service}"
    index = (await register(board, service, namespace=space)).index
    await board("PUT", f"/v1/kv/{service}/a", b"1")
    index = (await board("PUT", f"/v1/kv/{service}/b", b"1")).index
    tail = f"index={index}&wait=60s"
    reads = {
        "services": f"/v1/services?namespace={space}&{tail}",
        "one": f"/v1/services/{service}/instances/one?namespace={space}&{tail}",
        "key": f"/v1/kv/{service}/a?{tail}",
        "prefix": f"/v1/kv/{service}/?recurse&{tail}",
    }
    tasks = {name: asyncio.create_task(board("GET", path)) for name, path in reads.items()}
    await waiting(board, len(tasks))
    await board("PUT", f"/v1/kv/{service}/b", b"2")
    assert len((await tasks["prefix"]).json) == 2
    await board("GET", "/healthz")
    assert [name for name, task in tasks.items() if task.done()] == ["prefix"]
    await board("PUT", f"/v1/kv/{service}/a", b"2")
    assert (await tasks["key"]).json[0]["Value"] == "Mg=="
    assert not tasks["one"].done()
    await register(board, service, namespace=space, port=1)
    assert (await tasks["one"]).json["port"] == 1
    assert service in (await tasks["services"]).json["services"]


@pytest.mark.parametrize("expires", [False, True])
async def test_blocking_reads_answer_when_what_they_show_goes(own_board, expires):
    await register(own_board, "web", ttl=10)
    index = (await own_board("PUT", "/v1/kv/a/b?ttl=10s", b"v")).index
    tail = f"index={index}&wait=60s"
    paths = ["/v1/services?", "/v1/services/web/instances?", "/v1/services/web/instances/one?"]
    paths += ["/v1/kv/a/b?", "/v1/kv/a/?recurse&", "/v1/kv/a/?keys&"]
    reads = [asyncio.create_task(own_board("GET", path + tail)) for path in paths]
    await waiting(own_board, 4)  # two of them ask about the service, two about the prefix
    await own_board("GET", "/healthz")
    assert not any(read.done() for read in reads)
    if expires:
        own_board.clock.now_s += 11
    else:
        await own_board("DELETE", "/v1/services/web/instances/one")
        await own_board("DELETE", "/v1/kv/a/b")
    services, listed, *gone = await asyncio.gather(*reads)
    assert (services.json, listed.json) == ({"services": {}}, {"instances": []})
    assert [got.status for got in gone] == [404] * 4
    assert all(got.index > index for got in (services, listed, *gone))


async def test_a_blocking_read_of_what_is_not_there_answers_when_it_comes(own_board):
    await register(own_board, "other")
    index = own_board.registry.index
    tail = f"index={index}&wait=60s"
    paths = [f"/v1/services/web/instances/one?{tail}", f"/v1/kv/a?{tail}"]
    reads = [asyncio.create_task(own_board("GET", path)) for path in paths]
    await waiting(own_board, len(reads))
    await register(own_board, "other", "two")
    await own_board("PUT", "/v1/kv/b", b"v")
    await own_board("GET", "/healthz")
    assert not any(read.done() for read in reads)
    await register(own_board, "web")
    await own_board("PUT", "/v1/kv/a", b"v")
    assert [got.status for got in await asyncio.gather(*reads)] == [200, 200]


async def test_a_client_that_goes_takes_its_blocking_read_along(board, service):
    index = (await register(board, service)).index
    head = (
        f"GET /v1/services/{service}/instances?index={index}&wait=600s HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    async with board.raw(head.encode()):
        await waiting(board)
    await until(lambda: not board.registry._board.watches._waiters)


async def test_a_reader_that_leaves_before_its_wait_begins_is_not_waited_for(own_board):
    asked, may_go_on = asyncio.Event(), asyncio.Event()

    async def confirm():
        asked.set()
        await may_go_on.wait()

    own_board.registry.confirm = confirm
    path = "/v1/services?consistency=strong&index=0&wait=10m"
    async with own_board.raw(request("GET", path)):
        await asked.wait()
    await until(lambda: all(one.transport is None for one in own_board.limits.connections))
    may_go_on.set()
    await until(lambda: not own_board.server._under_way)
