"""RFC 1034 section 4.2.1: all servers of a zone say the same of who they are, address for address.

A resolver believes what it is told at the zone's top, not what led it there: a node that named
itself alone would draw all questions to itself, and take the zone along when it stops.
"""

import struct

import pytest
from callboard.config import ConfigError, resolve
from callboard.node import _dns_config

A, NS, SOA, AAAA, ANY = 1, 2, 6, 28, 255
ALL = ("127.0.0.1", "127.0.0.2", "2001:db8::3")
OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
ALL_GLUE = "ns 5 A 127.0.0.1, ns 5 A 127.0.0.2, ns 5 AAAA 2001:db8::3"
ROWS = (
    ("", NS, f"NOERROR AA | @ 5 NS ns | - | {ALL_GLUE}"),
    ("", SOA, "NOERROR AA | @ 5 SOA | - | -"),
    ("ns", AAAA, "NOERROR AA | ns 5 AAAA 2001:db8::3 | - | -"),
    ("ns", NS, "NOERROR AA | - | @ 5 SOA | -"),
    ("below.ns", NS, "NOERROR AA | - | @ 5 SOA | -"),
)


@pytest.fixture
async def told_by_each(start_front, registry, make_instance, wire_rows):
    """One board behind two nodes that listen at addresses of their own."""
    registry.put(make_instance(namespace="below"))
    return [wire_rows(await start_front(host=host, ns_addresses=ALL)) for host in ALL[:2]]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_every_node_names_all_of_them(told_by_each, question, tcp):
    for told in told_by_each:
        for name, rdtype, expected in ROWS:
            for rest, opt in ((b"", ""), (OPT, " | OPT 0x0 1232")):
                packet = question(name, rdtype, rest=rest, counts=(1, 0, 0, len(rest[:1])))
                assert told([packet], tcp=tcp) == [expected + opt]


async def test_their_order_is_no_matter_of_who_comes_first(told_by_each, question):
    """Resolvers that take the first address must not all take the same one."""
    packet = question("ns", A)
    both = {f"ns 5 A {one}, ns 5 A {other}" for one, other in (ALL[:2], ALL[1::-1])}
    expected = {f"NOERROR AA | {answer} | - | -" for answer in both}
    for told in told_by_each:
        assert set(told([packet] * 64)) == expected


def test_the_flag_is_given_once_for_every_address():
    config = resolve({"ns-address": [*ALL, ALL[0]]}, {}, {}, "node.toml")
    assert set(_dns_config(config).ns_addresses) == set(ALL)


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "ns.example", "192.0.2.1:53", "fe80::1%eth0"])
def test_an_address_nobody_reaches_is_refused(text):
    with pytest.raises(ConfigError, match=r"^--ns-address: .*write 192"):
        resolve({"ns-address": [text]}, {}, {}, "node.toml")
