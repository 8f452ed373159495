"""What is not there: RFC 2308 (negative answers), RFC 8020 (NXDOMAIN means nothing below)."""

import pytest
from callboard.registry.instance import Port

NODATA = "NOERROR AA 0/1/0"
NXDOMAIN = "NXDOMAIN AA 0/1/0"


@pytest.fixture
def web(board):
    board.register(
        "web", "a", "10.0.0.1", tags=("v2",), ports={"metrics": Port(9100), "log": Port(514, "udp")}
    )
    board.register("off", "a", "10.0.0.2", status="critical", tags=("v1",))
    board.register("api", "a", "10.0.0.3", namespace="prod")
    return board


@pytest.mark.parametrize(
    "name",
    [
        "service", "instance", "addr", "_tcp", "_tcp.service",
        "_tcp.web.service", "_udp.web.service", "web.instance", "off.instance",
        "prod.ns", "service.prod.ns", "instance.prod.ns", "_tcp.prod.ns", "api.instance.prod.ns",
        "default.ns", "service.default.ns", "_metrics._tcp.web.service", "_web._tcp",
    ],
)  # fmt: skip
def test_what_stands_above_a_name_exists_without_records(web, name):
    assert web.shape(name, "A") == NODATA


@pytest.mark.parametrize(
    "name",
    [
        "nope.service", "v2.nope.service", "v3.web.service", "x.v2.web.service", "nope",
        "_udp", "_udp.prod.ns",
        "_tcp.nope.service", "_nope._tcp.web.service", "_metrics._udp.web.service",
        "x._tcp.web.service", "_nope._tcp", "_web._udp", "x._tcp", "_web._v3.service",
        "nope.instance", "b.web.instance", "a.nope.instance", "x.a.web.instance",
        "0a0000.addr", "0a00000g.addr", "x.0a000001.addr", "0a000001.addr.prod.ns",
        "web.service.prod.ns", "api.service", "nope.ns", "service.nope.ns", "web.service.nope.ns",
        r"web\.prod.service", r"api\.prod.service", r"a.api\.prod.instance", r"_api\.prod._tcp",
    ],
)  # fmt: skip
def test_what_does_not_exist_is_nxdomain_for_every_type(web, name):
    for rdtype in ("A", "AAAA", "SRV", "TXT", "ANY", "TYPE65280"):
        assert web.shape(name, rdtype) == NXDOMAIN


@pytest.mark.parametrize(
    ("name", "rdtype"),
    [
        ("web.service", "AAAA"), ("web.service", "TXT"), ("web.service", "SOA"), ("", "A"),
        ("web.service", "MX"), ("web.service", "HTTPS"), ("web.service", "TYPE97"), ("", "SRV"),
        ("web.service", "TYPE65535"), ("ns", "AAAA"), ("ns", "TXT"), ("0a000001.addr", "AAAA"),
        ("off.service", "A"), ("off.service", "SRV"), ("v1.off.service", "A"),
        ("a.off.instance", "A"), ("_off._tcp", "SRV"),
    ],
)  # fmt: skip
def test_a_name_without_the_type_is_nodata(web, name, rdtype):
    assert web.shape(name, rdtype) == NODATA


def test_above_services_of_a_protocol_there_is_something_only_with_some(board):
    assert board.shape("_tcp") == "NXDOMAIN AA 0/1/0"
    board.register("web", "a")
    assert (board.shape("_tcp"), board.shape("_udp")) == (NODATA, NXDOMAIN)
    board.register("web", "a", protocol="UDP", status="critical")
    assert (board.shape("_tcp"), board.shape("_udp")) == (NXDOMAIN, NODATA)
    board.register("api", "a", namespace="prod")
    assert (board.shape("_tcp"), board.shape("_tcp.prod.ns")) == (NXDOMAIN, NODATA)
    board.remove("web", "a")
    assert board.shape("_udp") == NXDOMAIN


def test_above_ports_there_is_something_only_with_ports(board):
    board.register("web", "a")
    assert board.shape("_tcp.web.service") == "NXDOMAIN AA 0/1/0"
    board.register("web", "b", ports={"metrics": Port(9100)})
    assert board.shape("_tcp.web.service") == "NOERROR AA 0/1/0"
    assert board.shape("_udp.web.service") == "NXDOMAIN AA 0/1/0"
    board.remove("web", "b")
    assert board.shape("_tcp.web.service") == "NXDOMAIN AA 0/1/0"


def test_the_soa_is_the_zones_with_the_negative_ttl(make_board):
    """RFC 2308 section 3: the lesser of the SOA's TTL and its MINIMUM."""
    for ttl_s, expected in ((3600, 5), (2, 2)):
        (soa,) = make_board(ttl_s=ttl_s).ask("x.y.nope.service").authority
        assert str(soa.name) == "callboard.internal."
        assert soa.ttl == expected
        assert soa[0].minimum == 5


def test_the_serial_is_the_registrys_index(board):
    before = board.ask("").authority[0][0].serial
    board.register()
    assert board.ask("", "SOA").answer[0][0].serial == before + 1
    assert board.ask("nope").authority[0][0].serial == before + 1
    board.responder.changed(2**32 + 3, [])
    assert board.ask("", "SOA").answer[0][0].serial == 3, "RFC 1982: modulo 2^32"


def test_a_remembered_negative_answer_gets_the_new_serial(board):
    board.register("web", "a", "10.0.0.1")
    board.ask("web.service", "AAAA")
    board.register("other")
    board.responder.refresh_serials()
    assert board.ask("web.service", "AAAA").authority[0][0].serial == board.responder.index


def test_existence_follows_the_board(board):
    assert board.shape("web.service") == NXDOMAIN
    board.register("web", "a", "10.0.0.1")
    assert board.shape("web.service") == "NOERROR AA 1/0/0"
    board.register("web", "a", "10.0.0.1", status="maintenance")
    assert board.shape("web.service") == NODATA
    board.register("web", "a", "10.0.0.1", status="warning")
    assert board.shape("web.service") == "NOERROR AA 1/0/0"
    board.remove("web", "a")
    assert board.shape("web.service") == NXDOMAIN


def test_an_address_that_dns_cannot_say_is_left_out(board):
    board.register("web", "a", "bücher.example").register("db", "a", "x" * 64 + ".example")
    assert board.shape("web.service") == NODATA
    assert board.shape("db.service", "SRV") == NODATA
