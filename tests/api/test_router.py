"""Routes and paths, without a network."""

import pytest
from callboard.api.router import Found, Route, Router, WrongMethod
from hypothesis import given
from hypothesis import strategies as st


async def nothing(call):
    raise AssertionError


def routes(*lines):
    return [Route(*line.split(" "), nothing, line) for line in lines]


ROUTER = Router(routes("GET /a", "PUT /a", "GET /a/{x}", "GET /a/{x}/b", "GET /kv/{key...}"))


def found(method, path):
    return ROUTER.find(method, path)


@pytest.mark.parametrize(
    ("path", "summary", "parts"),
    [
        ("/a", "GET /a", []),
        ("/a/1", "GET /a/{x}", ["1"]),
        ("/a/a%20b", "GET /a/{x}", ["a b"]),
        ("/a/%2Fb", "GET /a/{x}", ["/b"]),
        ("/a/%25", "GET /a/{x}", ["%"]),
        ("/a/é", "GET /a/{x}", ["é"]),
        ("/a/1/b", "GET /a/{x}/b", ["1"]),
        ("/kv/", "GET /kv/{key...}", [""]),
        ("/kv/a/b//c/", "GET /kv/{key...}", ["a/b//c/"]),
        ("/kv/a%2Fb/c", "GET /kv/{key...}", ["a/b/c"]),
    ],
)
def test_a_path_leads_to_its_route_and_its_parts_are_decoded_once(path, summary, parts):
    got = found("GET", path)
    assert isinstance(got, Found)
    assert (got.route.summary, got.parts) == (summary, parts)


@pytest.mark.parametrize("path", ["", "a", "/", "/b", "/a/", "/a/1/", "/a/1/c", "/a/1/b/c", "/kv"])
def test_other_paths_lead_nowhere(path):
    assert found("GET", path) is None


def test_head_goes_where_get_goes():
    assert found("HEAD", "/a/1").route.method == "GET"


def test_another_method_is_told_which_there_are():
    assert found("DELETE", "/a") == WrongMethod(["GET", "PUT", "HEAD"])


@pytest.mark.parametrize("path", ["/a/%ff", "/a/\udcff", "/a/%00", "/a/%0d%0a", "/kv/a/%c2%85"])
def test_what_is_no_text_is_a_value_error(path):
    with pytest.raises(ValueError, match=r"decode|encode|control"):
        found("GET", path)


@given(st.text(alphabet="/a1%{}.é\x00\udcff", max_size=30), st.sampled_from(["GET", "HEAD", "X"]))
def test_any_path_is_found_or_not_or_a_value_error(path, method):
    try:
        got = found(method, path)
    except ValueError:
        return
    assert got is None or isinstance(got, Found | WrongMethod)
