"""The description: valid OpenAPI, whole, true of what is answered, and shown by a page offline."""

import base64
import hashlib
import json
import re

import jsonschema
import pytest
from callboard.api.openapi import describe
from callboard.api.responses import encode
from callboard.api.router import Router
from callboard.api.routes import ROUTES
from jsonschema.validators import Draft202012Validator
from openapi_spec_validator import validate

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def api():
    return json.loads(encode(describe(ROUTES)))


def resolved(api, schema):
    """`schema` with the components that it refers to."""
    return {**schema, "components": api["components"]}


async def test_it_is_valid_and_served(board, api):
    validate(api)
    assert (await board("GET", "/openapi.json")).json == api


async def test_every_call_is_in_it_and_nothing_else(api):
    described = {(method, path) for path, calls in api["paths"].items() for method in calls}
    routed = {(one.method.lower(), one.template.replace("...}", "}")) for one in Router(ROUTES)}
    assert described == routed
    ids = [call["operationId"] for calls in api["paths"].values() for call in calls.values()]
    assert len(ids) == len(set(ids))


async def test_every_call_that_takes_json_has_an_example_that_fits_its_type(api):
    for calls in api["paths"].values():
        for call in calls.values():
            content = call.get("requestBody", {}).get("content", {}).get("application/json")
            if content is not None:
                jsonschema.validate(
                    content["example"], resolved(api, content["schema"]), Draft202012Validator
                )


async def test_every_documented_example_is_answered_as_described(own_board, api):
    """Writes first, deletes last, so that what is read and deleted is there."""
    done = []
    order = ["PUT", "POST", "GET", "DELETE"]
    for route in sorted(ROUTES, key=lambda route: order.index(route.method)):
        if route.template in ("/v1/watch", "/v1/snapshot"):  # endless; a file, not an example
            continue
        path = route.template.replace("...}", "}")
        call = api["paths"][path][route.method.lower()]
        body = b"v" if route.body is bytes else route.example
        answer = await own_board(route.method, _filled(path, call), body)
        described = call["responses"].get(str(answer.status))
        assert described is not None, (route.template, answer.status, answer.body)
        _check(api, described, answer)
        done.append((route.method, route.template, answer.status))
    refused = [one for one in done if one[2] >= 400 and "cluster" not in one[1]]
    assert refused == []


def _filled(path, call):
    for parameter in call["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    return path


def _check(api, described, answer):
    if "$ref" in described:
        described = api["components"]["responses"]["Error"]
    for name in described["headers"]:
        assert name in answer.headers
    content = described.get("content")
    if content is None:
        assert answer.body == b""
        return
    [(media_type, typed)] = content.items()
    assert answer.headers["Content-Type"].startswith(media_type)
    if media_type == "application/json":
        jsonschema.validate(answer.json, resolved(api, typed["schema"]), Draft202012Validator)


async def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing_else(board):
    page = await board("GET", "/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    text = page.body.decode()
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    for kind in ("style", "script"):
        [inline] = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r'\son\w+="|style="', text), "the policy would stop these"
