"""What is asked about the node itself: status, probes, metrics, cluster, snapshots."""

import errno
import re

import pytest
from callboard import __version__
from callboard.registry.engine.seam import EngineStatus
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_status_says_what_the_contract_says(own_board):
    put = await own_board("PUT", "/v1/services/web/instances/one")
    got = await own_board("GET", "/v1/status")
    shown = got.json
    assert shown.pop("uptime") >= 0
    assert {name: shown[name] for name in list(shown)[:10]} == {
        "node": "node-a",
        "engine": "sqlite",
        "keeper": "node-a",
        "leader": "node-a",
        "index": put.index,
        "staleness_ms": 0,
        "members": [{"name": "node-a", "address": "", "leader": True, "healthy": True}],
        "services": 1,
        "instances": 1,
        "version": __version__,
    }


async def test_a_node_that_stands_alone_lists_itself_and_says_so_to_the_rest(board):
    listed = (await board("GET", "/v1/cluster/members")).json
    assert [member["name"] for member in listed["members"]] == ["node-a"]
    body = {"name": "node-b", "address": "10.0.0.2:8300"}
    for method, path, sent in (
        ("POST", "/v1/cluster/members", body),
        ("DELETE", "/v1/cluster/members/node-a", None),
        ("POST", "/v1/cluster/transfer", None),
    ):
        refused = await board(method, path, sent)
        assert refused.error == (409, "stands_alone", None)
        assert "stands alone" in refused.json["error"]["message"]
    named = await board("POST", "/v1/cluster/transfer", {"to": "node-b"})
    assert named.error == (400, "invalid_input", "to")
    nobody = await board("DELETE", "/v1/cluster/members/node-b")
    assert nobody.error == (404, "unknown_member", None)
    wrong = await board("POST", "/v1/cluster/members", {"name": "node-b"})
    assert wrong.error == (400, "invalid_input", "address")


async def test_a_living_node_is_alive_and_ready(board):
    assert (await board("GET", "/healthz")).json == {"status": "alive"}
    assert (await board("GET", "/readyz")).json == {"status": "ready"}


async def test_a_node_whose_engine_refuses_writes_is_alive_but_not_ready(own_board):
    stopped = EngineStatus("sqlite", "node-a", 1, 0.0, False, "the disk is full")
    own_board.engine.status = lambda: stopped
    refused = await own_board("GET", "/readyz")
    assert refused.error == (503, "no_quorum", None)
    assert "the disk is full" in refused.json["error"]["message"]
    assert refused.headers["Retry-After"] == "1"
    assert (await own_board("GET", "/healthz")).status == 200
    assert (await own_board("GET", "/v1/status")).json["writable"] is False


async def test_a_node_that_has_not_heard_from_its_engine_is_not_ready(own_board):
    old = EngineStatus("etcd", "node-b", 1, 5001.0, True, "")
    own_board.engine.status = lambda: old
    assert (await own_board("GET", "/readyz")).error == (503, "too_stale", None)


async def metrics(board):
    got = await board("GET", "/metrics")
    assert got.status == 200
    assert got.headers["Content-Type"].startswith("text/plain")
    assert "X-Callboard-Index" in got.headers
    families = text_string_to_metric_families(got.body.decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


async def test_calls_are_counted_by_method_route_and_status(own_board):
    before = await metrics(own_board)
    for _ in range(3):
        await own_board("PUT", "/v1/services/web/instances/one")
    await own_board("GET", "/no/such/path")
    await own_board("PROPFIND", "/pot")
    found = await metrics(own_board)
    route = "/v1/services/{service}/instances/{id}"
    name = "callboard_http_request_duration_seconds_count"

    def calls(method, route, status):
        labels = {"method": method, "route": route, "status": str(status)}
        key = (name, *sorted(labels.items()))
        return found.get(key, 0) - before.get(key, 0)

    assert calls("PUT", route, 201) == 1
    assert calls("PUT", route, 200) == 2
    assert calls("GET", "unknown", 404) == 1
    assert calls("other", "unknown", 404) == 1
    assert found[("callboard_registry_instances",)] == 1
    assert found[("callboard_registry_services",)] == 1


async def test_buckets_add_up(own_board):
    for _ in range(5):
        await own_board("GET", "/healthz")
    found = await metrics(own_board)
    labels = [("method", "GET"), ("route", "/healthz"), ("status", "200")]
    name = "callboard_http_request_duration_seconds"
    assert found[(f"{name}_bucket", ("le", "+Inf"), *labels)] == found[(f"{name}_count", *labels)]
    assert found[(f"{name}_sum", *labels)] > 0


async def test_open_connections_and_calls_under_way_are_shown(own_board):
    found = await metrics(own_board)
    assert found[("callboard_http_connections",)] == 1
    assert found[("callboard_http_requests_under_way",)] == 1


async def test_metric_names_follow_the_rule(board):
    ours = {
        key[0] for key in await metrics(board) if not key[0].startswith(("python_", "process_"))
    }
    for name in ours:
        assert re.fullmatch(r"callboard_[a-z]+_[a-z_]+", name), name


async def test_other_parts_add_metrics_of_their_own(own_board):
    def source():
        yield GaugeMetricFamily("callboard_dns_something", "Of another part.", value=7)

    own_board.server.metrics.add(source)
    assert (await metrics(own_board))[("callboard_dns_something",)] == 7


async def test_a_snapshot_restores_what_was(own_board):
    await own_board("PUT", "/v1/services/web/instances/one", {"port": 1, "ttl": 0})
    await own_board("PUT", "/v1/kv/colour", b"blue")
    saved = await own_board("GET", "/v1/snapshot")
    assert saved.status == 200
    assert saved.headers["Content-Length"] == str(len(saved.body))
    assert f"callboard-{saved.index}.snapshot" in saved.headers["Content-Disposition"]
    await own_board("DELETE", "/v1/services/web/instances/one")
    await own_board("PUT", "/v1/kv/colour", b"red")
    await own_board("PUT", "/v1/services/db/instances/one")
    restored = await own_board("PUT", "/v1/snapshot", saved.body)
    assert restored.status == 200
    assert restored.json["index"] > saved.index
    assert (restored.json["services"], restored.json["instances"]) == (1, 1)
    assert (await own_board("GET", "/v1/services/web/instances/one")).json["port"] == 1
    assert (await own_board("GET", "/v1/kv/colour?raw")).body == b"blue"
    assert (await own_board("GET", "/v1/services/db/instances/one")).status == 404


@pytest.mark.parametrize("body", [b"", b"no snapshot", b"SQLite format 3\x00" + b"\x00" * 5000])
async def test_what_is_no_snapshot_is_refused_and_changes_nothing(own_board, body):
    await own_board("PUT", "/v1/services/web/instances/one")
    refused = await own_board("PUT", "/v1/snapshot", body)
    assert refused.error == (400, "invalid_input", "body")
    assert "/tmp" not in refused.json["error"]["message"]
    assert (await own_board("GET", "/v1/services/web/instances/one")).status == 200


async def test_a_snapshot_that_finds_no_room_is_refused_for_now(own_board, monkeypatch):
    def full(_call, *_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("callboard.api.snapshots.asyncio.to_thread", full)
    refused = await own_board("PUT", "/v1/snapshot", b"whatever")
    monkeypatch.undo()
    assert refused.status == 503
    assert "No space left on device; make room there" in refused.json["error"]["message"]


async def test_without_a_temporary_directory_snapshots_are_refused_for_now(own_board, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    for method, body in (("GET", None), ("PUT", b"whatever")):
        refused = await own_board(method, "/v1/snapshot", body)
        assert refused.status == 503
        assert "cannot be kept in /nowhere" in refused.json["error"]["message"]


async def test_a_snapshot_that_says_to_be_huge_is_refused_at_once(board):
    head = "PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999\r\n\r\n"
    async with board.raw(head.encode()) as (reader, _):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
