"""Packets byte for byte over real sockets, and the whole reply: every header field and section.

RFC 1034/1035 lookup, RFC 2308 denials, RFC 3597 types, RFC 4343 letter case, RFC 8906 headers.
"""

import pytest

A, NS, SOA, MX, TXT, AAAA, SRV, DS, HTTPS, ANY = 1, 2, 6, 15, 16, 28, 33, 43, 65, 255
DENIED = "- | @ 5 SOA | -"
WEB = "web.service 5 A 10.0.0.1 | - | -"
NOBODY = "REFUSED | - | - | -"
BARE_FORMERR = "FORMERR alone"


@pytest.fixture
async def told(start_front, registry, make_instance, wire_rows):
    for service, address in (
        ("web", "10.0.0.1"),
        ("six", "2001:db8::1"),
        ("db", "a.web.instance.callboard.internal"),
        ("lost", "nope.service.callboard.internal"),
        ("away", "www.example.com"),
        ("x", "y.service.callboard.internal"),
        ("y", "x.service.callboard.internal"),
    ):
        registry.put(make_instance(service, "a", address))
    return wire_rows(await start_front())


def lookups(question):
    """RFC 1034 section 4.3.2, 2308, 8020."""
    yield "A", question("web.service"), f"NOERROR AA | {WEB}"
    yield (
        "AAAA",
        question("six.service", AAAA),
        "NOERROR AA | six.service 5 AAAA 2001:db8::1 | - | -",
    )
    yield "RD", question("web.service", flags=0x100), f"NOERROR AA RD | {WEB}"
    for name, qtype in (
        ("web.service", AAAA), ("web.service", TXT), ("web.service", SOA), ("web.service", NS),
        ("web.service", DS), ("web.service", HTTPS), ("service", A), ("web.instance", A), ("", A),
        ("_web._tcp", A),
    ):  # fmt: skip
        yield f"no data {name} {qtype}", question(name, qtype), f"NOERROR AA | {DENIED}"
    for name in ("nope", "nope.service", "x.y.z.nope", "b.a.web.instance", "b.web.instance"):
        yield f"no name {name}", question(name), f"NXDOMAIN AA | {DENIED}"
    alias = "db.service 5 CNAME a.web.instance"
    yield (
        "alias",
        question("db.service"),
        (f"NOERROR AA | {alias}, a.web.instance 5 A 10.0.0.1 | - | -"),
    )
    yield "alias, no data", question("db.service", AAAA), f"NOERROR AA | {alias} | @ 5 SOA | -"
    lost = "lost.service 5 CNAME nope.service"
    yield "alias, no name", question("lost.service"), f"NXDOMAIN AA | {lost} | @ 5 SOA | -"
    away = "away.service 5 CNAME www.example.com."
    yield "alias to outside", question("away.service"), f"NOERROR AA | {away} | - | -"
    yield (
        "alias in a circle",
        question("x.service"),
        ("NOERROR AA | x.service 5 CNAME y.service, y.service 5 CNAME x.service | - | -"),
    )
    for name in (b"\3com\0", b"\0", b"\x08internal\0", b"\4blah\x08internal\0"):
        yield f"outside {name!r}", question(name), NOBODY


def names_of_any_bytes(question):
    """RFC 2181 section 11, RFC 4343: case is kept in the echo and does not matter."""
    below = b"\7service\x09callboard\x08internal\0"
    longest = 255 - len(below)
    filled = b"\x3f" + b"x" * 63 + b"\x3f" + b"x" * 63 + b"\x3f" + b"x" * 63
    rest = longest - len(filled)
    for odd in (b"\5we\0bx", b"\4a.bc", b"\1*", b"\2\xff\xfe", b"\4web "):
        yield f"label {odd!r}", question(odd + below), f"NXDOMAIN AA | {DENIED}"
    fits = filled + bytes((rest - 1,)) + b"y" * (rest - 1) + below
    assert len(fits) == 255
    yield "255 octets", question(fits), f"NXDOMAIN AA | {DENIED}"
    long = filled + bytes((rest,)) + b"y" * rest + below
    yield "256 octets", question(long), BARE_FORMERR
    cased = b"\3wEb\7SERvice\x09CallBoard\x08Internal\0"
    yield "case", question(cased), "NOERROR AA | wEb.SERvice 5 A 10.0.0.1 | - | -"


def types_and_classes(question):
    """RFC 3597, RFC 8482, RFC 6895."""
    for qtype in (0, 41, 46, 47, 128, 249, 250, 253, 254, 666, 65280, 65535):
        yield f"type {qtype}", question("web.service", qtype), f"NOERROR AA | {DENIED}"
        yield f"type {qtype}, no name", question("nope", qtype), f"NXDOMAIN AA | {DENIED}"
    yield "ANY", question("web.service", ANY), f"NOERROR AA | {WEB}"
    yield "ANY above names", question("service", ANY), f"NOERROR AA | {DENIED}"
    yield "ANY, no name", question("nope", ANY), f"NXDOMAIN AA | {DENIED}"
    for qclass in (0, 2, 3, 4, 254, 255):
        yield f"class {qclass}", question("web.service", A, qclass), NOBODY
    for name in (b"\7version\4bind\0", b"\x08whatever\4bind\0"):
        yield f"CH {name!r}", question(name, TXT, 3), NOBODY


def additionals(question):
    """RFC 2782, RFC 1035 section 3.3.11: what the next question would be for."""
    for name in ("web.service", "_web._tcp", "_web._tcp.service"):
        yield (
            f"SRV {name}",
            question(name, SRV),
            (f"NOERROR AA | {name} 5 SRV 1 1 80 0a000001.addr | - | 0a000001.addr 5 A 10.0.0.1"),
        )
    yield (
        "SRV to outside",
        question("away.service", SRV),
        ("NOERROR AA | away.service 5 SRV 1 1 80 www.example.com. | - | -"),
    )
    yield "NS", question("", NS), "NOERROR AA | @ 5 NS ns | - | ns 5 A 127.0.0.1"
    yield "SOA", question("", SOA), "NOERROR AA | @ 5 SOA | - | -"


def headers(question):
    """RFC 8906 section 3.1: what is not understood is ignored, or said to be so."""
    for bit, name in enumerate(("CD", "AD", "Z", "RA")):
        yield name, question("web.service", flags=0x10 << bit), f"NOERROR AA | {WEB}"
    for flags in (0x200, 0x400, 0x6F0, 0x000F, 0x0005):
        yield f"flags {flags:#x}", question("web.service", flags=flags), f"NOERROR AA | {WEB}"
    for opcode, name in ((1, "IQUERY"), (2, "STATUS"), (3, "3"), (4, "NOTIFY"), (5, "UPDATE"),
                         (6, "DSO"), (15, "15")):  # fmt: skip
        for flags in (0, 0x07F0):
            packet = question("web.service", flags=opcode << 11 | flags)
            yield f"opcode {name} {flags}", packet, f"NOTIMP {opcode} alone"
    yield "trailing bytes", question("web.service", rest=b"junk"), f"NOERROR AA | {WEB}"
    record = b"\0\0\1\0\1\0\0\0\0\0\4\1\2\3\4"
    for counts in ((1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1)):
        full = question("web.service", rest=record, counts=counts)
        yield f"spare record {counts}", full, f"NOERROR AA | {WEB}"
        yield f"missing record {counts}", question("web.service", counts=counts), BARE_FORMERR
    yield "no question", question(b"", counts=(0, 0, 0, 0))[:12], BARE_FORMERR
    yield "two questions", question("web.service", rest=question("web.service")[12:],
                                    counts=(2, 0, 0, 0)), BARE_FORMERR  # fmt: skip
    yield "a reply", question("web.service", flags=0x8000), "silence"
    yield "a refusal", question("web.service", flags=0x8005), "silence"
    yield "eleven bytes", question("web.service")[:11], "silence"


def malformed_questions(question):
    """RFC 1035 section 4.1.4: there is nothing a question's name could point at."""
    for name in (
        b"\x40web\0", b"\x80web\0", b"\xbfweb\0", b"\xc0\x0c", b"\xc0\x20", b"\xc0\x00",
        b"\xff\xff", b"\3web\xc0\x0c",
    ):  # fmt: skip
        yield f"name {name!r}", question(name), BARE_FORMERR
    whole = question("web.service")
    for cut in (1, 2, 4, 5, 14):
        yield f"{cut} bytes short", whole[:-cut], BARE_FORMERR
    yield "header only", whole[:12], BARE_FORMERR


GROUPS = (lookups, names_of_any_bytes, types_and_classes, additionals, headers, malformed_questions)


@pytest.mark.parametrize("rows", GROUPS)
async def test_every_row_is_answered_as_a_whole(told, question, rows):
    asked = list(rows(question))
    for tcp in (False, True):
        seen = told([packet for _, packet, _ in asked], tcp=tcp)
        wrong = [
            (row, tcp, reply, expected)
            for (row, _, expected), reply in zip(asked, seen, strict=True)
            if reply != expected
        ]
        assert wrong == []
