"""What a call asks, and what its answer means."""

import contextlib
import json
from urllib.parse import unquote

import pytest
from callboard import (
    CallboardError,
    Conflict,
    InvalidArgument,
    NotFound,
    OutcomeUnknown,
    TooLarge,
    Unavailable,
    UnexpectedAnswer,
)
from callboard.clients import kv_requests, request, requests
from callboard.clients.request import Answer, interpret
from hypothesis import given
from hypothesis import strategies as st


def answer(status, body=None, **headers):
    return Answer(status, headers, b"" if body is None else json.dumps(body).encode())


def problem(code, message="no", **more):
    return {"error": {"code": code, "message": message, **more}}


def test_a_registration_says_only_what_was_given():
    request = requests.put_instance("web", "web-1", port=80, ports={"m": (9, "udp")}, ttl="2m")
    assert (request.method, request.path) == ("PUT", "/v1/services/web/instances/web-1")
    assert request.target.endswith("?namespace=default")
    assert json.loads(request.body) == {
        "port": 80,
        "ports": {"m": {"port": 9, "protocol": "udp"}},
        "ttl": 120,
    }


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "-a", "a-", "ä", "a" * 64, "a\n"])
def test_a_name_that_would_lead_elsewhere_is_refused(name):
    with pytest.raises(InvalidArgument) as caught:
        requests.put_instance(name, "id")
    assert caught.value.field == "service"
    assert caught.value.status is None


@pytest.mark.parametrize("name", ["node-1.example.com", "10.0.0.4:8300", "[::1]:8300", "8e9e05c"])
def test_a_member_is_removed_by_whatever_it_is_known_by(name):
    path = requests.remove_member(name).path
    assert unquote(path) == f"/v1/cluster/members/{name}"
    assert path.count("/") == 4


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_a_member_s_name_leads_nowhere_else(name):
    with pytest.raises(InvalidArgument) as caught:
        requests.remove_member(name)
    assert caught.value.field == "name"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({"ttl": "soon"}, "ttl"), ({"ttl": -1}, "ttl"), ({"tags": "v2"}, "tags")],
)
def test_wrong_arguments_are_named(arguments, field):
    with pytest.raises(InvalidArgument) as caught:
        requests.put_instance("web", "web-1", **arguments)
    assert caught.value.field == field


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_key_stays_one_path_whatever_is_in_it(key):
    path = kv_requests.kv_get(key).path
    assert path.isascii()
    assert path.startswith("/v1/kv/")
    assert not {".", ".."} & set(path.split("/"))
    assert not set(path) & set("?# %\n") - {"%"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, problem("invalid", field="port"), InvalidArgument),
        (404, problem("unknown_instance"), NotFound),
        (409, problem("conflict"), Conflict),
        (413, problem("too_large"), TooLarge),
        (415, problem("media"), InvalidArgument),
        (429, problem("rate"), Unavailable),
        (500, None, UnexpectedAnswer),
        (503, problem("no_quorum"), Unavailable),
        (503, problem("outcome_unknown"), OutcomeUnknown),
        (502, "<html>", Unavailable),
        (503, {"error": "text"}, Unavailable),
        (307, None, UnexpectedAnswer),
        (200, {"not": "an instance"}, UnexpectedAnswer),
        (200, None, UnexpectedAnswer),
    ],
)
def test_answers_become_the_error_the_caller_can_act_on(status, body, kind):
    with pytest.raises(CallboardError) as caught:
        interpret(requests.put_instance("web", "web-1"), answer(status, body))
    assert type(caught.value) is kind
    assert caught.value.status == status


def test_retry_after_is_read_and_bounded():
    with pytest.raises(Unavailable) as caught:
        interpret(requests.services(), answer(503, problem("x"), **{"Retry-After": "2"}))
    assert caught.value.retry_after_s == 2
    with pytest.raises(Unavailable) as caught:
        interpret(requests.services(), answer(503, problem("x"), **{"Retry-After": "99999"}))
    assert caught.value.retry_after_s == request.RETRY_AFTER_S_MAX


@given(st.integers(200, 599), st.binary(max_size=50), st.text(max_size=10))
def test_no_answer_ends_in_anything_but_a_result_or_our_error(status, body, retry):
    for each in (
        requests.services(),
        requests.instances("web"),
        kv_requests.kv_get("k"),
        kv_requests.kv_put("k", b""),
        requests.status(),
        requests.members(),
        requests.heartbeat("web", "web-1"),
    ):
        with contextlib.suppress(CallboardError):
            interpret(each, Answer(status, {"Retry-After": retry}, body))


def test_a_delete_that_was_repeated_takes_missing_for_done():
    request = requests.deregister("web", "web-1")
    assert interpret(request, answer(404, problem("unknown_instance")), repeated=True) is None
    with pytest.raises(NotFound):
        interpret(request, answer(404, problem("unknown_instance")))


def test_only_what_compares_or_restores_is_not_repeatable():
    assert not kv_requests.kv_put("k", b"", cas=1).repeatable
    assert not kv_requests.kv_delete("k", cas=1).repeatable
    assert not requests.restore_snapshot().repeatable
    assert kv_requests.kv_put("k", b"").repeatable
    assert requests.put_instance("web", "web-1").repeatable
    assert requests.heartbeat("web", "web-1").repeatable


def test_consuls_pairs_are_decoded_and_a_missing_key_is_none():
    pair = {"Key": "k", "Value": "YQ==", "Flags": 3, "CreateIndex": 1, "ModifyIndex": 2}
    found = interpret(kv_requests.kv_get("k"), answer(200, [{**pair, "LockIndex": 0}]))
    assert (found.key, found.value, found.flags, found.create_index, found.index) == (
        "k", b"a", 3, 1, 2,
    )  # fmt: skip
    empty = interpret(kv_requests.kv_list(""), answer(200, [{**pair, "Value": None}]))
    assert empty[0].value == b""
    assert interpret(kv_requests.kv_get("k"), answer(404)) is None
    assert interpret(kv_requests.kv_list("k"), answer(404)) == []
