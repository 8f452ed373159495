"""Registering, replacing, reading and taking off single instances."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

WHOLE = {
    "address": "10.0.0.5",
    "port": 8080,
    "ports": {"metrics": {"port": 9100, "protocol": "tcp"}},
    "protocol": "tcp",
    "tags": ["v2"],
    "meta": {"zone": "a"},
    "node": "host-a",
    "priority": 1,
    "weight": 1,
    "ttl": 15,
    "status": "passing",
    "output": "",
}


def path_of(service, instance_id="one"):
    return f"/v1/services/{service}/instances/{instance_id}"


async def test_a_new_instance_is_answered_with_201_and_shown_as_the_contract_does(board, service):
    put = await board("PUT", path_of(service), WHOLE)
    assert put.status == 201
    index = put.json["create_index"]
    assert list(put.json.items()) == list(
        {
            "service": service,
            "namespace": "default",
            "id": "one",
            **WHOLE,
            "expires_in": 15,
            "create_index": index,
            "modify_index": index,
        }.items()
    )
    assert put.index == index
    assert put.headers["X-Callboard-Staleness-Ms"] == "0"
    assert put.headers["Content-Type"] == "application/json"
    assert (await board("GET", path_of(service))).json == put.json


async def test_replacing_is_200_and_keeps_the_create_index(board, service):
    first = await board("PUT", path_of(service), WHOLE)
    second = await board("PUT", path_of(service), {**WHOLE, "port": 8081})
    assert second.status == 200
    assert second.json["create_index"] == first.json["create_index"]
    assert second.json["modify_index"] > first.json["modify_index"]


async def test_an_identical_registration_renews_and_writes_nothing(own_board, service):
    first = await own_board("PUT", path_of(service), WHOLE)
    own_board.clock.now_s += 10
    assert (await own_board("GET", path_of(service))).json["expires_in"] == 5
    again = await own_board("PUT", path_of(service), WHOLE)
    assert (again.status, again.index) == (200, first.index)
    assert again.json == first.json


async def test_what_get_answers_can_be_put_back(board, service):
    await board("PUT", path_of(service), {**WHOLE, "output": "all is well"})
    shown = await board("GET", path_of(service))
    again = await board("PUT", path_of(service), shown.json)
    assert (again.status, again.json) == (200, shown.json)


async def test_left_out_fields_have_the_documented_defaults(board, service):
    put = await board("PUT", path_of(service))
    wanted = {
        "address": "127.0.0.1",
        "port": None,
        "ports": {},
        "protocol": "tcp",
        "tags": [],
        "meta": {},
        "node": "",
        "priority": 1,
        "weight": 1,
        "ttl": 30,
        "status": "passing",
        "output": "",
        "expires_in": 30,
    }
    assert {name: put.json[name] for name in wanted} == wanted


async def test_ttl_0_never_expires_and_shows_null(board, service):
    put = await board("PUT", path_of(service), {"ttl": 0})
    assert (put.json["ttl"], put.json["expires_in"]) == (0, None)
    assert b'"ttl":0,' in put.body


@pytest.mark.parametrize(
    ("written", "shown"), [("500ms", 0.5), ("15s", 15), ("2m", 120), ("1h", 3600), (0.25, 0.25)]
)
async def test_a_ttl_may_be_a_number_or_a_text_with_a_unit(board, service, written, shown):
    put = await board("PUT", path_of(service), {"ttl": written})
    assert (put.status, put.json["ttl"]) == (201, shown)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.5", "::ffff:10.0.0.5"),
        ("db.example.com", "db.example.com"),
        ("db.example.com.", "db.example.com"),
        ("host1", "host1"),
        ("1a.b2", "1a.b2"),
        ("x" * 63 + "." + "y" * 63, "x" * 63 + "." + "y" * 63),
    ],
)
async def test_addresses_are_ip_addresses_in_their_usual_spelling_or_host_names(
    board, service, written, shown
):
    put = await board("PUT", path_of(service), {"address": written})
    assert (put.status, put.json["address"]) == (201, shown)


@pytest.mark.parametrize(
    "address",
    [
        *("", " ", "10.0.0", "10.0.0.256", "010.0.0.1", "1.2.3.4.", "fe80::1%eth0", "::1::", "-a"),
        *("a-", "a..b", "a_b", "héllo", "a b", "a\n", "10.0.0.1\n", "x" * 64, "a." * 127 + "ab"),
        *("http://a", "a:80", "[::1]", "0x7f.1", "1", "\u0661.2.3.4", "a\x00", "10.0.0.1\x00"),
    ],
)
async def test_what_is_no_address_is_refused(board, service, address):
    refused = await board("PUT", path_of(service), {"address": address})
    assert refused.error == (400, "invalid_input", "address")


async def test_a_bare_number_is_a_named_port_over_tcp(board, service):
    put = await board("PUT", path_of(service), {"ports": {"metrics": 9100}})
    assert put.json["ports"] == {"metrics": {"port": 9100, "protocol": "tcp"}}


async def test_protocols_are_folded_and_repeated_tags_are_one(board, service):
    body = {"protocol": "UDP", "ports": {"x": {"port": 1, "protocol": "TCP"}}, "tags": ["a", "a"]}
    put = await board("PUT", path_of(service), body)
    assert put.json["protocol"] == "udp"
    assert put.json["ports"]["x"]["protocol"] == "tcp"
    assert put.json["tags"] == ["a"]


async def test_names_that_differ_in_case_are_one_and_the_first_spelling_stays(board, service):
    upper = service.upper()
    assert (await board("PUT", path_of(upper, "One"))).status == 201
    again = await board("PUT", path_of(service, "ONE"), {"port": 1})
    assert (again.status, again.json["service"], again.json["id"]) == (200, upper, "One")


async def test_names_in_the_body_may_repeat_those_of_the_path(board, service):
    body = {"service": service.upper(), "id": "ONE", "namespace": "default"}
    assert (await board("PUT", path_of(service), body)).status == 201
    for field in body:
        refused = await board("PUT", path_of(service) + "?namespace=default", {field: "other"})
        assert refused.error == (400, "invalid_input", field)


async def test_a_namespace_may_stand_in_the_query_or_in_the_body(board, service):
    space = f"Space-{service}"
    assert (await board("PUT", path_of(service) + f"?namespace={space}")).status == 201
    again = await board("PUT", path_of(service), {"namespace": space.lower(), "port": 1})
    assert (again.status, again.json["namespace"]) == (200, space)
    assert (await board("GET", path_of(service))).status == 404
    assert (await board("GET", path_of(service) + f"?namespace={space.upper()}")).status == 200
    assert (await board("DELETE", path_of(service) + f"?namespace={space}")).status == 204


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"adress": "x"}, "adress"),
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"port": "80"}, "port"),
        ({"port": 80.5}, "port"),
        ({"port": True}, "port"),
        ({"ports": {"m": 0}}, "ports.m"),
        ({"ports": {"a": 1, "m": {"port": 0}}}, "ports.m.port"),
        ({"ports": {"m": {"prt": 1}}}, "ports.m.prt"),
        ({"ports": {"m": {"port": 1, "protocol": "t p"}}}, "ports.m.protocol"),
        ({"ports": {"no name": 1}}, "ports.no name"),
        ({"ports": {f"p{n}": 1 for n in range(65)}}, "ports"),
        ({"protocol": "tcp\n"}, "protocol"),
        ({"protocol": "x" * 16}, "protocol"),
        ({"protocol": ""}, "protocol"),
        ({"tags": "v2"}, "tags"),
        ({"tags": ["ok", ""]}, "tags[1]"),
        ({"tags": ["x" * 129]}, "tags[0]"),
        ({"tags": ["a\n"]}, "tags[0]"),
        ({"tags": ["t"] * 65}, "tags"),
        ({"meta": {"a": 1}}, "meta.a"),
        ({"meta": {"a": "v" * 513}}, "meta.a"),
        ({"meta": {"k" * 129: "v"}}, "meta." + "k" * 128),
        ({"meta": {"a\tb": "v"}}, "meta.a\tb"),
        ({"meta": {"a": "\x00"}}, "meta.a"),
        ({"meta": {str(n): "v" for n in range(65)}}, "meta"),
        ({"node": "n" * 129}, "node"),
        ({"node": "a\x7f"}, "node"),
        ({"priority": -1}, "priority"),
        ({"priority": 65536}, "priority"),
        ({"weight": 10**30}, "weight"),
        ({"ttl": -1}, "ttl"),
        ({"ttl": 0.05}, "ttl"),
        ({"ttl": 0.0004}, "ttl"),
        ({"ttl": "0.4ms"}, "ttl"),
        ({"ttl": -0.0004}, "ttl"),
        ({"ttl": 30 * 24 * 3600 + 1}, "ttl"),
        ({"ttl": 10**400}, "ttl"),
        ({"ttl": "1d"}, "ttl"),
        ({"ttl": "-5s"}, "ttl"),
        ({"ttl": "٣s"}, "ttl"),
        ({"ttl": [15]}, "ttl"),
        ({"status": "up"}, "status"),
        ({"output": "o" * 4097}, "output"),
        ({"output": "\x00"}, "output"),
        ({"service": 7}, "service"),
        ([], "body"),
        ("web", "body"),
    ],
)
async def test_a_wrong_body_is_refused_naming_the_field(board, service, body, field):
    refused = await board("PUT", path_of(service), body)
    assert refused.error == (400, "invalid_input", field)
    assert (await board("GET", path_of(service))).status == 404


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"nonsense", b"\xff\xfe", b'{"node":"\xff"}', b'{"node":"\\ud800"}'),
        *(b'{"ttl":NaN}', b'{"ttl":Infinity}', b'{"port":1}{}', b'{"a":' * 10_000, b"[" * 60_000),
        *(b"null", b'{"ttl":1e999}', b'{"port":' + b"9" * 10_000 + b"}", b'{"ports":{"m":"x"},'),
        *(b'{"ports":{"m":"x"},"ports":3}', b"\x00", b"\xef\xbb\xbf{}"),
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_what_is_no_json_of_ours_is_a_400(board, service, body):
    refused = await board("PUT", path_of(service), body)
    assert refused.error[:2] == (400, "invalid_input")


@pytest.mark.parametrize("name", ["-a", "a-", "a.b", "a b", "é", "a" * 64, "a\u0000", "_a"])
async def test_what_is_no_name_is_refused_wherever_it_stands(board, service, name):
    quoted = "".join(f"%{byte:02x}" for byte in name.encode())
    for path, field in {
        path_of(quoted): "service",
        path_of(service, quoted): "id",
        path_of(service) + f"?namespace={quoted}": "namespace",
    }.items():
        for method in ("PUT", "GET", "DELETE"):
            status, code, named = (await board(method, path)).error
            assert (status, code) == (400, "invalid_input")
            assert named in (field, "path")


async def test_a_registration_over_64_kib_is_413_before_it_is_read(board, service):
    large = {"meta": {f"k{n}": "v" * 512 for n in range(64)}, "output": "é" * 4096}
    assert (await board("PUT", path_of(service), large)).status == 201
    refused = await board("PUT", path_of(service), b" " * (64 * 1024 + 1))
    assert refused.error == (413, "too_large", "body")


async def test_post_makes_an_id_and_says_where(board, service):
    made = await board("POST", f"/v1/services/{service}/instances?namespace=blue", {"port": 80})
    assert made.status == 201
    assert made.json["id"].startswith(service)
    assert (await board("GET", made.headers["Location"])).json == made.json
    other = await board("POST", f"/v1/services/{service}/instances", {"port": 80})
    assert other.json["id"] != made.json["id"]
    assert (await board("GET", other.headers["Location"])).status == 200


async def test_post_takes_an_id_from_the_body(board, service):
    made = await board("POST", f"/v1/services/{service}/instances", {"id": "mine"})
    assert made.headers["Location"] == path_of(service, "mine")
    wrong = await board("POST", f"/v1/services/{service}/instances", {"id": "not mine"})
    assert wrong.error == (400, "invalid_input", "id")


async def test_taking_off_is_204_and_then_404(board, service):
    await board("PUT", path_of(service))
    gone = await board("DELETE", path_of(service))
    assert (gone.status, gone.body) == (204, b"")
    assert "Content-Length" not in gone.headers
    assert gone.index > 0
    assert (await board("DELETE", path_of(service))).error == (404, "unknown_instance", None)
    assert (await board("GET", path_of(service))).error == (404, "unknown_instance", None)


async def test_a_renewal_answers_the_ttl_and_writes_nothing(own_board, service):
    first = await own_board("PUT", path_of(service), WHOLE)
    own_board.clock.now_s += 14
    beat = await own_board("PUT", path_of(service) + "/heartbeat")
    assert (beat.status, beat.json, beat.index) == (200, {"ttl": 15, "expires_in": 15}, first.index)
    assert (await own_board("GET", path_of(service))).json["expires_in"] == 15


async def test_a_renewal_may_report_a_status(board, service):
    await board("PUT", path_of(service), WHOLE)
    beat = {"status": "critical", "output": "disk full"}
    assert (await board("PUT", path_of(service) + "/heartbeat", beat)).status == 200
    shown = (await board("GET", path_of(service))).json
    assert (shown["status"], shown["output"]) == ("critical", "disk full")
    assert (await board("PUT", path_of(service) + "/heartbeat")).status == 200
    assert (await board("GET", path_of(service))).json == shown
    for wrong, field in {"up": "status", "passing": "outptu"}.items():
        refused = await board(
            "PUT", path_of(service) + "/heartbeat", {"status": wrong, field: wrong}
        )
        assert refused.error == (400, "invalid_input", field)


async def test_renewing_what_is_not_there_says_to_register_again(board, service):
    refused = await board("PUT", path_of(service) + "/heartbeat")
    assert refused.error == (404, "unknown_instance", None)
    assert "register" in refused.json["error"]["message"]
