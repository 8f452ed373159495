"""The schemas beside the server: what they forbid is refused, what they allow is taken, and what
is answered fits them."""

import json

import pytest
from callboard.api.openapi import describe
from callboard.api.responses import encode
from callboard.api.routes import ROUTES
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema.validators import Draft202012Validator

from .test_any_input import bounded, fields, values
from .test_watch import watch

API = json.loads(encode(describe(ROUTES)))
PATH = "/v1/services/schemas/instances/one"


def validator(name):
    schema = {"$ref": f"#/components/schemas/{name}", "components": API["components"]}
    return Draft202012Validator(schema)


BODY, ANSWER = validator("InstanceBody"), validator("InstanceAnswer")

ports = st.integers(1, 65535)
labels = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,13}[A-Za-z0-9])?", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))
tags = texts.filter(lambda text: 1 <= len(text) <= 128)
durations = st.one_of(
    st.just(0), st.integers(1, 86_400), st.floats(0.1, 3600), st.sampled_from(["500ms", "2m"])
)
allowed = st.fixed_dictionaries(
    {},
    optional={
        "address": st.ip_addresses().map(str) | st.sampled_from(["db.example.com", None]),
        "port": ports | st.none(),
        "ports": st.dictionaries(
            labels,
            ports | st.fixed_dictionaries({"port": ports}, optional={"protocol": labels}),
            max_size=4,
        ),
        "protocol": labels,
        "tags": st.lists(tags, max_size=5),
        "meta": st.dictionaries(tags, texts.filter(lambda text: len(text) <= 512), max_size=5),
        "node": texts.filter(lambda text: len(text) <= 128),
        "priority": st.integers(0, 65535),
        "weight": st.integers(0, 65535),
        "ttl": durations | st.none(),
        "status": st.sampled_from(["passing", "warning", "critical", "maintenance"]),
        "output": texts,
        "expires_in": st.none() | st.floats(0, 100),
        "create_index": st.integers(0),
    },
)
any_body = st.dictionaries(fields, values, max_size=3) | st.builds(
    lambda body, spoilt: body | spoilt, allowed, st.dictionaries(fields, values, max_size=1)
)


@pytest.fixture
def call(loop_and_board):
    runner, board = loop_and_board
    return lambda method, path, body=None: runner.run(board(method, path, body))


@bounded
@given(body=allowed)
@example({"ttl": 1.3125})
def test_what_the_schema_allows_is_taken_and_answered_in_its_form(call, body):
    BODY.validate(body)
    put = call("PUT", PATH, body)
    assert put.status in (200, 201), put.body
    ANSWER.validate(put.json)
    assert call("GET", PATH).json == put.json
    assert call("PUT", PATH, put.json).json == put.json
    listed = call("GET", "/v1/services/schemas/instances").json
    validator("InstancesAnswer").validate(listed)
    assert listed["instances"] == [put.json]
    validator("ServicesAnswer").validate(call("GET", "/v1/services").json)


@settings(bounded, max_examples=200)
@given(body=any_body)
@example({"expires_in": None, "create_index": None})
@example({"tags": ["a\n"]})
@example({"protocol": "tcp\n"})
@example({"ports": {"a\n": 1}})
@example({"meta": {"": "v"}})
def test_what_the_schema_forbids_is_refused(call, body):
    """And no more: where it allows what is refused, a text in it is no name or no duration."""
    body = _plain(body)
    answer = call("PUT", PATH, body)
    if answer.status == 400:
        validator("ErrorBody").validate(answer.json)
        field = answer.json["error"]["field"]
        loose = ("address", "ttl", "service", "id", "namespace")
        assert not BODY.is_valid(body) or field in loose, answer.body
    else:
        assert BODY.is_valid(body), answer.body
        ANSWER.validate(answer.json)


def _plain(value):
    """`value` without what JSON does not have, and without the 1.0 that JSON Schema takes for
    an integer and the server for a mistake."""
    if isinstance(value, float):
        return value if value % 1 else 0.5
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def test_every_event_of_a_watch_carries_an_instance(call, loop_and_board):
    runner, board = loop_and_board
    call("PUT", PATH)
    snapshot, put, delete = runner.run(_events(board))
    validator("InstancesAnswer").validate(snapshot)
    for change in (put, delete):
        ANSWER.validate(change)


async def _events(board):
    async with watch(board, "?service=schemas") as events:
        snapshot = await events.next()
        await board("PUT", PATH, {"port": 7})
        await board("DELETE", PATH)
        shown = [snapshot, await events.next(), await events.next()]
    return [data for _, _, data in shown]
