"""Durations, addresses and server lists as people write them."""

import contextlib

import pytest
from callboard import InvalidArgument
from callboard.addresses import Address, parse_address
from callboard.clients.endpoints import parse_servers
from callboard.durations import DURATION_S_MAX, parse_duration_s
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("15s", 15), ("2m", 120), ("1h", 3600), ("3", 3), ("0", 0), (2.5, 2.5)],
)
def test_durations_are_read_with_their_unit(text, seconds):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1d", "1 s", "1e3", "٣s", "1m30s", "inf", "99999h", float("nan"), -1]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match=r"write"):
        parse_duration_s(text)


@given(st.text())
def test_any_text_is_a_bounded_duration_or_refused(text):
    with contextlib.suppress(ValueError):
        assert 0 <= parse_duration_s(text) <= DURATION_S_MAX


@given(
    st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), st.just("db.local")),
    st.integers(1, 65535),
)
def test_an_address_reads_back_as_written(host, port):
    assert parse_address(str(Address(host, port))) == (host, port)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text):
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", ":80", "host", "host:", "host:0", "host:65536", "::1:80", "[::1]", "[host]:80",
     "1.2.3:80", "256.0.0.1:80", "a b:80", "host:80:90", "-a:80"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match=r"write|port"):
        parse_address(text)


def test_port_0_is_only_for_those_who_ask_for_it():
    assert parse_address("127.0.0.1:0", port_min=0).port == 0


def test_servers_are_split_completed_and_named_once(monkeypatch):
    assert parse_servers("a:1, https://b/ ,http://a:1") == ("http://a:1", "https://b")
    monkeypatch.setenv("CALLBOARD_SERVER", "c:2")
    assert parse_servers(None) == ("http://c:2",)
    monkeypatch.setenv("CALLBOARD_SERVER", "")
    assert parse_servers(None) == ("http://127.0.0.1:8500",)


@pytest.mark.parametrize(
    "servers", ["", " , ", [], "ftp://a", "http://", "http://a:b", "http://a:99999", "a b", "a?b=c"]
)
def test_what_is_no_server_is_refused(servers):
    with pytest.raises(InvalidArgument, match="HOST:PORT"):
        parse_servers(servers)
