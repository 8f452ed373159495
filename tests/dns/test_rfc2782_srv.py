"""SRV: RFC 2782's form and Consul's, named ports, targets with their addresses."""

import pytest
from callboard.registry.instance import Port

TARGET = "0a000001.addr.callboard.internal."


@pytest.fixture
def web(board):
    ports = {"metrics": Port(9100), "Syslog": Port(514, "UDP")}
    return board.register("web", "a", "10.0.0.1", port=8080, ports=ports, tags=("v2",))


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("web.service", 8080), ("v2.web.service", 8080), ("_web._tcp", 8080),
        ("_web._tcp.service", 8080), ("_web._v2.service", 8080), ("a.web.instance", 8080),
        ("_metrics._tcp.web.service", 9100), ("_syslog._udp.web.service", 514),
        ("_web._tcp.default.ns", 8080), ("_metrics._tcp.web.service.default.ns", 9100),
    ],
)  # fmt: skip
def test_every_form_gives_port_and_target_with_its_address(web, name, port):
    reply = web.ask(name, "SRV")
    assert web.data(name, "SRV") == {f"SRV 1 1 {port} {TARGET}"}
    (glue,) = reply.additional
    assert (str(glue.name), str(glue[0])) == (TARGET, "10.0.0.1")


def test_the_plain_form_asks_for_the_instances_protocol(board):
    board.register("dns", "a", "10.0.0.1", protocol="udp", port=53)
    assert board.data("_dns._udp", "SRV") == {f"SRV 1 1 53 {TARGET}"}
    assert board.shape("_dns._tcp", "SRV") == "NXDOMAIN AA 0/1/0"


def test_instances_without_a_port_have_no_srv(board):
    board.register("web", "a", "10.0.0.1", port=None)
    assert board.shape("web.service", "SRV") == "NOERROR AA 0/1/0"
    board.register("web", "b", "10.0.0.2", port=1, priority=7, weight=70_000)
    assert board.data("web.service", "SRV") == {"SRV 7 65535 1 0a000002.addr.callboard.internal."}


def test_addresses_point_at_the_right_targets_in_every_order(board):
    for n in range(1, 8):
        board.register("web", f"i{n}", f"10.0.0.{n}" if n % 2 else f"2001:db8::{n}", port=n)
    for _ in range(20):
        reply = board.ask("web.service", "SRV", use_edns=0, payload=1232)
        glue = {str(rrset.name): str(rrset[0]) for rrset in reply.additional}
        assert len(glue) == 7
        for srv in reply.answer[0]:
            address = glue[str(srv.target)]
            assert int(address[-1]) == srv.port


def test_withheld_instances_are_not_handed_out(web):
    web.register("web", "b", "10.0.0.2", status="critical", ports={"metrics": Port(1)})
    assert len(web.data("web.service", "SRV")) == 1
    assert web.data("_metrics._tcp.web.service", "SRV") == {f"SRV 1 1 9100 {TARGET}"}
