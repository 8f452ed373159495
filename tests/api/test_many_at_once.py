"""Renewals and operations by the thousand in one call."""

import pytest
from callboard.registry.engine.seam import OutcomeUnknown, Refused

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def beats(board, *named):
    return await board("POST", "/v1/heartbeats", {"instances": named})


async def batch(board, *operations):
    done = await board("POST", "/v1/batch", {"operations": operations})
    assert done.status == 200, done.body
    return done.json["results"]


async def register(board, service, *ids, **more):
    return await batch(
        board, *({"op": "register", "service": service, "id": name, **more} for name in ids)
    )


async def test_renewals_name_those_that_are_unknown_as_they_were_sent(board, service):
    await register(board, service, "a", "b")
    await register(board, service, "c", namespace="blue")
    done = await beats(
        board, [service, "a"], [service, "none"], [service.upper(), "C", "Blue"], [service, "c"]
    )
    unknown = [[service, "none"], [service, "c"]]
    assert (done.status, done.json) == (200, {"renewed": 2, "unknown": unknown})


async def test_renewals_renew_and_write_nothing(own_board, service):
    await register(own_board, service, "a", ttl=15)
    index = own_board.registry.index
    own_board.clock.now_s += 10
    assert (await beats(own_board, [service, "a"])).index == index
    shown = await own_board("GET", f"/v1/services/{service}/instances/a")
    assert shown.json["expires_in"] == 15


async def test_names_that_can_never_exist_are_unknown(board, service):
    named = [["é", "x"], ["", ""], ["a/b", "c", "d/e"], ["x" * 500, "\x00"], [service, "ß", "\n"]]
    done = await beats(board, *named)
    assert (done.json["renewed"], len(done.json["unknown"])) == (0, len(named))


async def test_no_such_name_becomes_a_part_of_a_message_to_the_keeper(own_board, monkeypatch):
    asked = []
    monkeypatch.setattr(
        type(own_board.registry), "renew", lambda _, names: asked.extend(names) or [*range(3)]
    )
    await beats(own_board, ["a/b", "c"], ["x" * 500, "y"], ["web", "one"])
    assert [name.service for name in asked] == ["", "", "web"]


async def test_no_renewals_are_none(board):
    assert (await beats(board)).json == {"renewed": 0, "unknown": []}


async def test_ten_thousand_renewals_pass_and_one_more_does_not(board, service):
    named = [[service, "x" * 63, "y" * 63]] * 10_000
    assert len((await beats(board, *named)).json["unknown"]) == 10_000
    assert (await beats(board, *named, *named[:1])).error == (400, "invalid_input", "instances")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "instances"),
        ({"instances": "web"}, "instances"),
        ({"instances": [["web"]]}, "instances[0]"),
        ({"instances": [["web", "a"], ["web", 1]]}, "instances[1][1]"),
        ({"instances": [["a", "b", "c", "d"]]}, "body"),
        ({"instances": [], "more": 1}, "more"),
    ],
)
async def test_wrong_renewals_are_refused_naming_the_field(board, body, field):
    assert (await board("POST", "/v1/heartbeats", body)).error == (400, "invalid_input", field)


async def test_every_operation_has_its_result_in_order(board, service):
    one = {"service": service, "id": "one"}
    results = await batch(
        board,
        {"op": "register", **one, "port": 1},
        {"op": "register", **one, "port": 2},
        {"op": "heartbeat", **one, "status": "warning", "output": "slow"},
        {"op": "heartbeat", "service": service, "id": "none"},
        {"op": "deregister", **one},
        {"op": "deregister", **one},
        {"op": "register", "service": service, "namespace": "blue", "ttl": "1h"},
    )
    assert [result["status"] for result in results] == [201, 200, 200, 404, 204, 404, 201]
    assert results[0]["instance"]["port"] == 1
    assert results[1]["instance"]["port"] == 2
    assert results[2]["renewal"] == {"ttl": 30, "expires_in": 30}
    assert results[3]["error"]["code"] == results[5]["error"]["code"] == "unknown_instance"
    assert results[4] == {"status": 204}
    made = results[6]["instance"]
    assert (made["namespace"], made["ttl"], made["address"]) == ("blue", 3600, "127.0.0.1")
    assert made["id"].startswith(service)


async def test_a_wrong_operation_spoils_only_itself(board, service):
    one = {"op": "register", "service": service}
    wide = {f"k{n}": "\U0001f600" * 512 for n in range(40)}
    results = await batch(
        board,
        {**one, "id": "a"},
        {**one, "id": "no name"},
        {**one, "id": "b", "port": 0},
        {"op": "register", "id": "b"},
        {"op": "renew", "service": service, "id": "a"},
        {"service": service, "id": "a"},
        7,
        {**one, "id": "b", "ports": {"m": {"prt": 1}}},
        {**one, "id": "b", "ttl": "soon"},
        {"op": "heartbeat", "service": service},
        {**one, "id": "b", "meta": wide},
        {**one, "id": "c"},
    )
    assert [result["status"] for result in results] == [201, *[400] * 9, 413, 201]
    assert [result["error"].get("field") for result in results[1:-1]] == [
        "operations[1].id",
        "operations[2].port",
        "operations[3].service",
        "operations[4].op",
        "operations[5].op",
        "operations[6]",
        "operations[7].ports.m.prt",
        "operations[8].ttl",
        "operations[9].id",
        "operations[10].meta",
    ]
    listed = await board("GET", f"/v1/services/{service}/instances")
    assert [instance["id"] for instance in listed.json["instances"]] == ["a", "c"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "operations"),
        ({"operations": {}}, "operations"),
        ({"operations": [{}] * 1001}, "operations"),
        ({"operations": [], "atomic": True}, "atomic"),
    ],
)
async def test_a_wrong_batch_is_refused_whole(board, body, field):
    assert (await board("POST", "/v1/batch", body)).error == (400, "invalid_input", field)


async def test_an_empty_batch_has_no_results(board):
    assert await batch(board) == []


@pytest.mark.parametrize(
    ("failure", "code"),
    [(Refused("no space"), "no_quorum"), (OutcomeUnknown("?"), "outcome_unknown")],
)
async def test_what_the_engine_refuses_is_a_503_that_says_when_to_come_back(
    own_board, service, failure, code
):
    await register(own_board, service, "a")

    async def commit(operations, guard=None):
        raise failure

    own_board.engine.commit = commit
    path = f"/v1/services/{service}/instances"
    calls = {
        ("PUT", f"{path}/b"): {},
        ("POST", path): {},
        ("DELETE", f"{path}/a"): None,
        ("PUT", f"{path}/a/heartbeat"): {"status": "critical"},
        ("POST", "/v1/batch"): {"operations": [{"op": "register", "service": service}]},
        ("PUT", "/v1/kv/a"): b"1",
        ("DELETE", "/v1/kv/a"): None,
    }
    for (method, where), body in calls.items():
        refused = await own_board(method, where, body)
        assert refused.error == (503, code, None), where
        assert refused.headers["Retry-After"] == "1"
    assert (await own_board("PUT", f"{path}/a/heartbeat")).status == 200
    assert (await own_board("GET", path)).status == 200
