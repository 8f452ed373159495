"""Lookup of names that exist: RFC 1034 section 4.3.2, RFC 1035, RFC 2181 section 5, RFC 4343."""

import pytest

ZONE = "callboard.internal"
IPV6_HEX = f"20010db8{1:024x}"
HOSTS = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "2001:db8::1"}


@pytest.fixture
def web(board):
    for instance_id, address in HOSTS.items():
        board.register("web", instance_id, address, tags=("v2",) if instance_id == "a" else ())
    board.register("Api", "X-1", "10.1.0.1", namespace="Prod")
    return board


@pytest.mark.parametrize(
    ("name", "rdtype", "answer"),
    [
        ("web.service", "A", {"A 10.0.0.1", "A 10.0.0.2"}),
        ("web.service", "AAAA", {"AAAA 2001:db8::1"}),
        ("v2.web.service", "A", {"A 10.0.0.1"}),
        ("v2.web.service", "AAAA", set()),
        ("c.web.instance", "AAAA", {"AAAA 2001:db8::1"}),
        (
            "c.web.instance",
            "SRV",
            {f"SRV 1 1 80 {IPV6_HEX}.addr.{ZONE}."},
        ),
        ("0a000001.addr", "A", {"A 10.0.0.1"}),
        ("20010db8000000000000000000000001.addr", "AAAA", {"AAAA 2001:db8::1"}),
        ("0A00000f.addr", "A", {"A 10.0.0.15"}),
        ("api.service.prod.ns", "A", {"A 10.1.0.1"}),
        ("x-1.api.instance.prod.ns", "A", {"A 10.1.0.1"}),
        ("web.service.default.ns", "AAAA", {"AAAA 2001:db8::1"}),
        ("ns", "A", {"A 192.0.2.53"}),
        ("", "NS", {"NS ns.callboard.internal."}),
        (
            "",
            "SOA",
            {f"SOA ns.{ZONE}. hostmaster.{ZONE}. 11 3600 600 86400 5"},
        ),
    ],
)
def test_every_form_of_name_answers_with_its_records(web, name, rdtype, answer):
    reply = web.ask(name, rdtype)
    assert web.data(name, rdtype) == answer
    assert all(rrset.ttl == 5 for rrset in reply.answer)


def test_letter_case_does_not_matter_and_comes_back_as_asked(web):
    """RFC 4343: `ask` compares the question byte by byte; owners point at it."""
    reply = web.ask("wEb.SERVICE")
    assert str(reply.answer[0].name) == "wEb.SERVICE.callboard.internal."
    assert web.data("API.Service.PROD.ns") == {"A 10.1.0.1"}
    # A reply remembered for one spelling serves another with that one's case.
    assert str(web.ask("WEB.service").answer[0].name).startswith("WEB.service")


def test_rd_is_copied_and_ra_is_not_offered(web):
    assert web.shape("web.service", flags="RD") == "NOERROR AA RD 2/0/0"
    assert web.shape("web.service") == "NOERROR AA 2/0/0"


@pytest.mark.parametrize("flag", ["AA", "TC", "RA", "AD", "CD"])
def test_other_flags_of_a_query_are_cleared(web, flag):
    assert web.shape("web.service", flags=flag) == "NOERROR AA 2/0/0"


def test_equal_records_are_given_once(board):
    """RFC 2181 section 5: two instances on one host are one address, and two SRV records."""
    board.register("web", "a", "10.0.0.1", port=80).register("web", "b", "10.0.0.1", port=81)
    assert board.shape("web.service") == "NOERROR AA 1/0/0"
    assert board.shape("web.service", "SRV") == "NOERROR AA 2/0/1"


def test_every_address_gets_its_turn_to_be_first(board):
    for n in range(40):
        board.register("web", f"i{n}", f"10.0.0.{n}")
    replies = [board.ask("web.service", use_edns=0, payload=1232) for _ in range(40)]
    assert len({str(reply.answer[0][0]) for reply in replies}) == 40


def test_text_is_one_record_a_pair_and_long_ones_are_split(board):
    """RFC 1464 quoting; more than 255 bytes are several strings of one record."""
    board.register(meta={"zone": "a", "k=`": "v", "long": "x" * 300})
    (rrset,) = board.ask("web.service", "TXT", tcp=True).answer
    assert {b"".join(rdata.strings) for rdata in rrset} == {
        b"zone=a",
        b"k`=``=v",
        b"long=" + b"x" * 300,
    }


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({}, "A 10.0.0.1"),
        ({"address": "2001:db8::1"}, "AAAA 2001:db8::1"),
        ({"address": "db.example."}, "CNAME db.example."),
    ],
)
def test_any_gets_one_rrset(board, fields, answer):
    """RFC 8482 section 4.1, over UDP and TCP alike."""
    board.register(**fields, meta={"a": "b"})
    assert board.data("web.service", "ANY") == {answer}
    assert board.data("web.service", "ANY", tcp=True) == {answer}


class TestHostNames:
    """An address that is a name: a CNAME when alone, and the SRV target itself."""

    def test_alone_it_is_an_alias_to_the_outside(self, board):
        board.register("db", "a", "Db.Example.com", port=5432)
        assert board.data("db.service", "A") == {"CNAME db.example.com."}
        assert board.data("db.service", "AAAA") == {"CNAME db.example.com."}
        assert board.data("db.service", "SRV") == {"SRV 1 1 5432 db.example.com."}
        assert board.shape("db.service", "SRV") == "NOERROR AA 1/0/0"

    def test_alone_it_is_an_alias_for_whatever_it_has_no_records_of(self, board):
        board.register("db", "a", "db.example.com", port=None)
        for kind in ("SRV", "TXT", "MX", "TYPE65280", "CNAME", "ANY"):
            assert board.data("db.service", kind) == {"CNAME db.example.com."}, kind
        board.register("db", "a", "db.example.com", port=5432, meta={"a": "b"})
        assert board.data("db.service", "SRV") == {"SRV 1 1 5432 db.example.com."}
        assert board.data("db.service", "TXT") == {'TXT "a=b"'}
        assert board.data("db.service", "MX") == {"CNAME db.example.com."}

    def test_among_others_it_is_left_out_of_addresses(self, board):
        board.register("db", "a", "db.example.com").register("db", "b", "10.0.0.1")
        assert board.data("db.service", "A") == {"A 10.0.0.1"}
        assert board.shape("db.service", "AAAA") == "NOERROR AA 0/1/0"
        assert len(board.data("db.service", "SRV")) == 2

    def test_an_alias_into_our_zones_is_followed(self, board):
        board.register("db", "a", "web.service.callboard.internal").register("web", "a", "10.0.0.1")
        assert board.data("db.service", "A") == {
            "CNAME web.service.callboard.internal.",
            "A 10.0.0.1",
        }
        board.register("web", "a", "10.0.0.2")
        assert "A 10.0.0.2" in board.data("db.service", "A"), "never from memory"

    def test_an_alias_to_nothing_says_so(self, board):
        board.register("db", "a", "web.service.callboard.internal")
        assert board.shape("db.service", "A") == "NXDOMAIN AA 1/1/0"
        board.register("web", "a", "10.0.0.1")
        assert board.shape("db.service", "AAAA") == "NOERROR AA 1/1/0"

    def test_aliases_in_a_circle_end(self, board):
        board.register("x", "a", "y.service.callboard.internal")
        board.register("y", "a", "x.service.callboard.internal")
        assert board.shape("x.service", "A") == "NOERROR AA 2/0/0"


def test_the_longest_zone_wins(make_board):
    board = make_board(zones=("internal", "callboard.internal", "other.test"))
    board.register("web", "a", "10.0.0.1")
    assert str(board.ask("nope.service").authority[0].name) == "callboard.internal."
    assert str(board.ask("nope.service.internal.").authority[0].name) == "internal."
    assert board.data("web.service.other.test.") == {"A 10.0.0.1"}
    assert board.shape("web.service.xcallboard.internal.") == "NXDOMAIN AA 0/1/0"
    assert board.shape("web.service.xinternal.") == "REFUSED 0/0/0"


@pytest.mark.parametrize("name", ["example.com.", "internal.", ".", "callboard.internal.x."])
def test_names_outside_the_zones_are_refused(board, name):
    assert board.shape(name) == "REFUSED 0/0/0"


@pytest.mark.parametrize("rdclass", ["CH", "HS", "ANY", "NONE"])
def test_other_classes_are_refused(board, rdclass):
    """`version.bind CH TXT` among them: we do not say what we are."""
    assert board.shape("version.bind.", "TXT", rdclass=rdclass) == "REFUSED 0/0/0"
    assert board.shape("web.service", "A", rdclass=rdclass) == "REFUSED 0/0/0"


@pytest.mark.parametrize(
    ("name", "rdtype", "tcp", "shown"),
    [
        ("", "AXFR", False, "NOTIMP 0/0/0"),
        ("", "IXFR", False, "REFUSED 0/0/0"),
        ("", "AXFR", True, "REFUSED 0/0/0"),
        ("", "IXFR", True, "REFUSED 0/0/0"),
        ("web.service", "AXFR", True, "NOTAUTH 0/0/0"),
        ("example.", "AXFR", True, "NOTAUTH 0/0/0"),
    ],
)
def test_nobody_gets_a_zone_who_is_not_granted_it(web, name, rdtype, tcp, shown):
    assert web.shape(name, rdtype, tcp=tcp) == shown
