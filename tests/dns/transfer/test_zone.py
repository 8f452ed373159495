"""A transferred zone holds what we answer, name by name and type by type."""

import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import pytest
from callboard.dns import instances
from callboard.registry.instance import Port, Status
from hypothesis import example, given, settings
from hypothesis import strategies as st

ZONE = "callboard.internal"
ORIGIN = dns.name.from_text(f"{ZONE}.")
TYPES = ("A", "AAAA", "SRV", "TXT", "NS", "CNAME")
TAGS = ("v2", "V2", "tcp", "_x", "_", "*", "a.b", "db", "service", "é", "x" * 63, "ns")
NAMES = ("web", "db", "Ns", "w" * 63)
PORTS = ("metrics", "Admin", "web")
PROTOCOLS = ("tcp", "udp", "Grpc")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "2001:db8::1", "db.example", "Web.Service.callboard.internal")
IDS = ("a", "b", "C-1")
NAMESPACES = ("default", "prod", "default-2")

INSTANCES = st.builds(
    dict,
    service=st.sampled_from(NAMES),
    namespace=st.sampled_from(NAMESPACES),
    id=st.sampled_from(IDS),
    address=st.sampled_from(ADDRESSES),
    port=st.sampled_from((None, 80, 443)),
    protocol=st.sampled_from(PROTOCOLS),
    tags=st.lists(st.sampled_from(TAGS), max_size=3).map(tuple),
    meta=st.dictionaries(st.sampled_from(("k", "v=")), st.sampled_from(("x", "y" * 300))),
    ports=st.dictionaries(
        st.sampled_from(PORTS),
        st.builds(Port, st.integers(1, 2), st.sampled_from(PROTOCOLS)),
        max_size=2,
    ),
    status=st.sampled_from((Status.PASSING, Status.WARNING, Status.CRITICAL)),
)


def every_name(instances):
    """Label tuples of all that could be asked about these instances, existing or not."""
    yield from ((), ("ns",), ("service",), ("addr",), ("instance",), ("x", "service"), ("_tcp",))
    protocols = {name.lower() for name in PROTOCOLS}
    for namespace in sorted({"", "default", *(one["namespace"] for one in instances)}):
        end = (namespace, "ns") if namespace else ()
        for service in sorted({"web", *(one["service"] for one in instances)}):
            home = (service, "service", *end)
            own = f"_{service}"
            yield home
            yield from ((one, service, "instance", *end) for one in IDS)
            yield from ((tag, *home) for tag in TAGS if tag != "*")  # a wildcard: see below
            yield from ((own, f"_{tag}", "service", *end) for tag in TAGS)
            yield from ((own, f"_{protocol}", *end) for protocol in protocols)
            yield from ((f"_{p}", f"_{protocol}", *home) for p in PORTS for protocol in protocols)


def held(records):
    names = {}
    for name, rdtype, rdata in records:
        names.setdefault((name, dns.rdatatype.to_text(rdtype)), []).append(rdata)
    return names


def answers(board, owner):
    """What the responder says for each type of a name, in the form of a zone's content."""
    found = {}
    for rdtype in TYPES:
        query = dns.message.make_query(owner.derelativize(ORIGIN), rdtype, id=1)
        answer = dns.message.from_wire(board.raw(query.to_wire(), tcp=True)).answer
        for rrset in answer[:1]:
            found.setdefault(dns.rdatatype.to_text(rrset.rdtype), set()).update(rrset)
    if "CNAME" in found:
        return {"CNAME": found["CNAME"]}  # a zone can hold nothing beside it
    return found


def one_of_everything():
    fields = {"service": "web", "namespace": "default", "port": 80, "status": Status.PASSING}
    fields |= {"tags": ("v2", "_x", "tcp"), "meta": {"k": "x", "v=": "y" * 300}}
    fields |= {"ports": {"metrics": Port(1, "tcp")}, "protocol": "Grpc"}
    addresses = zip(IDS, ADDRESSES[1:4], strict=True)
    several = [fields | {"id": one, "address": address} for one, address in addresses]
    lone = fields | {"service": "db", "namespace": "prod", "id": "a", "address": "db.example"}
    return [*several, lone, lone | {"service": "Ns", "tags": (), "port": None, "meta": {}}]


@settings(max_examples=10, deadline=None)
@example(instances=one_of_everything())
@given(instances=st.lists(INSTANCES, max_size=6))
def test_a_zone_holds_what_is_answered(make_board, make_instance, transfer_board, instances):
    board, source = make_board(), transfer_board()
    for fields in instances:
        board.register(**fields)
        source.put(make_instance(**fields))
    records = source.records()
    assert records[0] == records[-1]
    assert records[0][1] == dns.rdatatype.SOA
    zone = held(records[1:-1])
    expected = {}
    for labels in every_name(instances):
        try:
            owner = dns.name.Name([label.encode() for label in labels])
            owner.derelativize(ORIGIN)
        except (dns.name.NameTooLong, dns.name.LabelTooLong):
            continue
        for rdtype, rdatas in answers(board, owner).items():
            expected[owner.canonicalize(), rdtype] = rdatas
    addresses = {name: zone.pop(name) for name in list(zone) if name[0].labels[1:2] == (b"addr",)}
    assert {
        (name.canonicalize(), rdtype): set(rdatas) for (name, rdtype), rdatas in zone.items()
    } == expected
    assert all(len(rdatas) == len(set(rdatas)) for rdatas in zone.values())
    for (name, rdtype), rdatas in addresses.items():
        assert answers(board, name) == {rdtype: set(rdatas)}
    targets = {
        rdata.target.relativize(ORIGIN)
        for (_, rdtype), rdatas in zone.items()
        if rdtype == "SRV"
        for rdata in rdatas
    }
    named = {target for target in targets if target.labels[1:2] == (b"addr",)}
    assert named <= {name for name, _ in addresses}


def test_names_beyond_what_dns_can_ask_are_left_out(transfer_board, make_instance):
    """255 bytes a name, 63 a label: with "_" before it a service of 63 is one too many."""
    long = "s" * 63
    source = transfer_board(zones=("z" * 25 + "." + "y" * 25,))
    source.put(make_instance(long, "i" * 63, namespace="n" * 63, tags=("t" * 63,)))
    for name, _, _ in source.records("z" * 25 + "." + "y" * 25):
        assert all(len(label) < 64 for label in name.labels)


def test_a_zone_within_another_is_left_to_its_own_transfer(transfer_board, make_instance):
    source = transfer_board(zones=(ZONE, f"service.{ZONE}"))
    source.put(make_instance("web", "a"))
    assert not [name for name, *_ in source.records() if name.labels[-1:] == (b"service",)]
    inner = source.records(f"service.{ZONE}")
    assert dns.name.from_text("web.service", None) in [name for name, *_ in inner]


def test_a_large_service_is_given_as_far_as_it_is_answered(
    transfer_board, make_instance, monkeypatch
):
    monkeypatch.setattr(instances, "READ_MAX", 40)
    source = transfer_board()
    source.put(*(make_instance(id=f"i{n}", address=f"10.1.0.{n}") for n in range(50)))
    records = held(source.records())
    assert len(records[dns.name.from_text("web.service", None), "A"]) == 40
    assert len(records[dns.name.from_text("i49.web.instance", None), "A"]) == 1


def test_a_lone_host_name_is_an_alias_and_its_srv_stands_at_the_other_names(
    transfer_board, make_instance
):
    source = transfer_board()
    source.put(make_instance("db", "a", "db.example.com", port=5432, meta={"k": "v"}))
    zone = held(source.records())
    at = {str(name): rdtype for name, rdtype in zone if name.labels and b"ns" not in name.labels}
    assert at == {
        "db.service": "CNAME",
        "a.db.instance": "CNAME",
        "_db._tcp.service": "SRV",
        "_db._tcp": "SRV",
    }


@pytest.mark.parametrize("tag", ["*", "_x"])
def test_tags_that_would_mean_something_else_are_left_out(transfer_board, make_instance, tag):
    source = transfer_board()
    source.put(make_instance(tags=(tag,)))
    assert not [name for name, *_ in source.records() if name.labels[:1] == (tag.encode(),)]
