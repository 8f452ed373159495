"""Options, sizes, signatures and transfers over real sockets, and the whole reply to each.

RFC 6891 EDNS, RFC 5001 NSID, RFC 7828 keepalive, RFC 7873 cookies, RFC 8945 TSIG, RFC 5936 AXFR.
"""

import re
import struct

import pytest
from callboard.dns.config import DnsIdentity

A, SOA, AAAA, SRV, DNSKEY, TSIG, IXFR, AXFR = 1, 6, 28, 33, 48, 250, 251, 252
WEB = "web.service 5 A 10.0.0.1 | - | -"
OURS = "OPT 0x0 1232"
BARE_FORMERR = "FORMERR alone"
CLIENT = bytes(range(8))
ALONE = (1, 0, 0, 1)


def opt(options=b"", *, size=1232, version=0, flags=0, owner=b"\0"):
    return owner + struct.pack("!HHBBHH", 41, size, 0, version, flags, len(options)) + options


def option(code, value=b""):
    return struct.pack("!HH", code, len(value)) + value


@pytest.fixture
async def told(start_front, registry, make_instance, wire_rows):
    registry.put(make_instance())
    for service, count in (("eight", 8), ("some", 30), ("many", 100)):
        for n in range(count):
            registry.put(make_instance(service, f"i{n}", f"10.1.0.{n}"))
    return wire_rows(await start_front(identity=DnsIdentity(nsid=b"node-1")))


@pytest.fixture
def asked(question):
    """A question for `web.service` with these records behind it."""

    def build(rest=b"", name="web.service", qtype=A, counts=ALONE, **options):
        return question(name, qtype, rest=rest, counts=counts, **options)

    return build


def edns(asked):
    """RFC 6891 sections 6 and 7."""
    for size in (0, 1, 511, 512, 1232, 4096, 65535):
        yield f"size {size}", asked(opt(size=size)), f"NOERROR AA | {WEB} | {OURS}"
    yield "DO", asked(opt(flags=0x8000)), f"NOERROR AA | {WEB} | OPT 0x8000 1232"
    for flags in (0x0080, 0x4000, 0x7FFF):
        yield f"flags {flags:#x}", asked(opt(flags=flags)), f"NOERROR AA | {WEB} | {OURS}"
    for code in (5, 6, 7, 9, 11 << 8, 12, 13, 14, 15, 19, 65001):
        for value in (b"", b"\0\0", bytes(12)):
            packet = asked(opt(option(code, value)))
            yield f"option {code} {value!r}", packet, f"NOERROR AA | {WEB} | {OURS}"
    for name in ("web.service", "nope", b"\7example\0"):
        for version in (1, 255):
            for more in (b"", option(10, CLIENT), option(65001, b"x")):
                packet = asked(opt(more, version=version), name)
                yield f"version {version}", packet, f"BADVERS | - | - | - | {OURS}"
    yield (
        "version 1 with DO",
        asked(opt(version=1, flags=0x8000)),
        ("BADVERS | - | - | - | OPT 0x8000 1232"),
    )
    yield "no data", asked(opt(), qtype=AAAA), f"NOERROR AA | - | @ 5 SOA | - | {OURS}"
    yield "no name", asked(opt(), "nope"), f"NXDOMAIN AA | - | @ 5 SOA | - | {OURS}"
    yield "outside", asked(opt(), b"\7example\0"), f"REFUSED | - | - | - | {OURS}"
    yield "a class", asked(opt(), qclass=4), f"REFUSED | - | - | - | {OURS}"
    yield "an opcode", asked(opt(), flags=1 << 11), "NOTIMP 1 alone"


def malformed(asked):
    """RFC 6891 section 6.1.1: one OPT, of the root, in the additional section."""
    yield "two", asked(opt() * 2, counts=(1, 0, 0, 2)), BARE_FORMERR
    yield "in the answer", asked(opt(), counts=(1, 1, 0, 0)), BARE_FORMERR
    yield "in the authority", asked(opt(), counts=(1, 0, 1, 0)), BARE_FORMERR
    yield "with an owner", asked(opt(owner=b"\1x\0")), BARE_FORMERR
    for options in (b"\0", b"\0\x0a\0", b"\0\x0a\0\x09" + CLIENT, b"\0\x03\xff\xff"):
        yield f"options {options!r}", asked(opt(options)), BARE_FORMERR
    yield "cut", asked(opt()[:-1]), BARE_FORMERR


def options(asked):
    """RFC 5001, RFC 7828, RFC 7871 (ignored), and RFC 7873 section 5.2."""
    nsid = f"3:{b'node-1'.hex()}"
    yield "NSID", asked(opt(option(3))), f"NOERROR AA | {WEB} | {OURS} {nsid}"
    yield "NSID with data", asked(opt(option(3, b"x"))), f"NOERROR AA | {WEB} | {OURS} {nsid}"
    keepalive = f"NOERROR AA | {WEB} | {OURS}"
    yield "keepalive", asked(opt(option(11))), (keepalive, keepalive + " 11:0064")
    for subnet in (b"\0\1\x18\0\x0a\0\0", b"\0\3\x18\0\x0a\0\0", b"\0\1\x21\0\x0a\0\0\0\0", b"\0"):
        packet = asked(opt(option(8, subnet)))
        yield f"subnet {subnet!r}", packet, f"NOERROR AA | {WEB} | {OURS}"
    cookie = f"10:{CLIENT.hex()}+16"
    for size in (0, 1, 7, 9, 15, 41, 42):
        refused = f"FORMERR | - | - | - | {OURS}"
        yield f"cookie of {size}", asked(opt(option(10, bytes(size)))), refused
    for size in (0, 8, 16, 32):
        packet = asked(opt(option(10, CLIENT + bytes(size))))
        yield f"server cookie of {size}", packet, f"NOERROR AA | {WEB} | {OURS} {cookie}"
    two = opt(option(10, CLIENT) + option(10, bytes(8)))
    yield "two cookies", asked(two), f"NOERROR AA | {WEB} | {OURS} {cookie}"
    header = asked()[:4] + struct.pack("!4H", 0, 0, 0, 1)
    alone = header + opt(option(10, CLIENT))
    yield "a cookie alone", alone, f"NOERROR | - | - | - | {OURS} {cookie}"
    yield "no question, no cookie", header + opt(), BARE_FORMERR
    four = opt(option(3) + option(8, b"\0\1\x18\0\x0a\0\0") + option(9) + option(10, CLIENT))
    yield (
        "NSID, ECS, EXPIRE and COOKIE",
        asked(four),
        (f"NOERROR AA | {WEB} | {OURS} {nsid} {cookie}"),
    )


def the_soa_at_the_apex(asked):
    """RFC 8906 section 8: what its test suite asks of every zone."""
    soa = "@ 5 SOA | - | -"
    for flags, shown in ((0, "AA"), (0x20, "AA"), (0x10, "AA"), (0x100, "AA RD"), (0x40, "AA")):
        packet = asked(b"", "", SOA, (1, 0, 0, 0), flags=flags)
        yield f"flags {flags:#x}", packet, f"NOERROR {shown} | {soa}"
    for rest in (opt(), opt(size=512), opt(option(100)), opt(flags=0x40)):
        yield f"EDNS {rest!r}", asked(rest, "", SOA), f"NOERROR AA | {soa} | {OURS}"
    for rest in (opt(version=1), opt(option(100), version=1)):
        yield f"EDNS(1) {rest!r}", asked(rest, "", SOA), f"BADVERS | - | - | - | {OURS}"
    yield "DO", asked(opt(flags=0x8000), "", SOA), f"NOERROR AA | {soa} | OPT 0x8000 1232"
    yield "an opcode", asked(b"", "", SOA, (1, 0, 0, 0), flags=15 << 11), "NOTIMP 15 alone"
    yield "a type", asked(b"", "", 1000, (1, 0, 0, 0)), "NOERROR AA | - | @ 5 SOA | -"
    yield (
        "DNSKEY",
        asked(opt(size=512, flags=0x8000), "", DNSKEY),
        ("NOERROR AA | - | @ 5 SOA | - | OPT 0x8000 1232"),
    )


def truncation(asked):
    """RFC 2181 section 9: all of an RRset or none, and only a lost answer sets TC."""
    cut = "NOERROR AA TC | - | - | -"
    whole = "NOERROR AA | 100 A | - | -"
    few = "NOERROR AA | 30 A | - | -"
    yield "plain", asked(b"", "some.service", A, (1, 0, 0, 0)), (cut, few)
    yield "512", asked(opt(size=512), "some.service"), (f"{cut} | {OURS}", f"{few} | {OURS}")
    yield "fits", asked(opt(size=700), "some.service"), f"{few} | {OURS}"
    for size in (1232, 4096, 65535):
        packet = asked(opt(size=size), "many.service")
        yield f"{size}", packet, (f"{cut} | {OURS}", f"{whole} | {OURS}")
    glued = "NOERROR AA | 8 SRV | - | 8 A"
    packet = asked(b"", "eight.service", SRV, (1, 0, 0, 0))
    yield "additional", packet, ("NOERROR AA | 8 SRV | - | -", glued)
    yield "additional fits", asked(opt(), "eight.service", SRV), f"{glued} | {OURS}"


def transfers(asked):
    """RFC 5936 section 4.2 and RFC 1995, for those who are not granted them."""
    for name, tcp in (("", "REFUSED"), ("web.service", "NOTAUTH"), (b"\7example\0", "NOTAUTH")):
        packet = asked(b"", name, AXFR, (1, 0, 0, 0))
        yield f"AXFR {name}", packet, ("NOTIMP | - | - | -", f"{tcp} | - | - | -")
        packet = asked(b"", name, IXFR, (1, 0, 0, 0))
        yield f"IXFR {name}", packet, f"{tcp} | - | - | -"


GROUPS = (edns, malformed, options, the_soa_at_the_apex, truncation, transfers)


def counted(line):
    """A long section by how many records of which type it has: their order is free."""

    def short(section):
        types = re.findall(r" 5 ([A-Z]+) ", section)
        return f"{len(types)} {types[0]}" if len(types) > 1 else section

    return " | ".join(map(short, line.split(" | ")))


@pytest.mark.parametrize("rows", GROUPS)
async def test_every_row_is_answered_as_a_whole(told, asked, rows):
    wrong = []
    for row, packet, expected in rows(asked):
        for tcp in (False, True):
            right = expected[tcp] if isinstance(expected, tuple) else expected
            [line] = told([packet], tcp=tcp)
            if counted(line) != right:
                wrong.append((row, tcp, line, right))
    assert wrong == []


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_a_valid_cookie_comes_back_as_it_was(
    start_front, registry, make_instance, asked, exchange, tcp
):
    """RFC 7873 section 5.2.5: byte for byte, at the very end of the reply."""
    registry.put(make_instance())
    address = (await start_front()).address
    first = exchange(address, asked(opt(option(10, CLIENT))), tcp=tcp)
    cookie = first[-24:]
    assert cookie[:12] == CLIENT + b"\1\0\0\0"
    again = exchange(address, asked(opt(option(10, cookie))), tcp=tcp)
    assert again == first
    forged = cookie[:-1] + bytes((cookie[-1] ^ 1,))
    other = exchange(address, asked(opt(option(10, forged))), tcp=tcp)
    assert (other[:-24], other[-24:-12]) == (first[:-24], cookie[:12])
    assert other[-24:] != forged


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_an_unknown_key_is_badkey_and_a_misplaced_tsig_malformed(
    start_front, registry, make_instance, asked, exchange, tcp
):
    """RFC 8945 sections 5.2 and 5.3.2: NOTAUTH, and a TSIG with error 17 and no MAC."""
    registry.put(make_instance())
    address = (await start_front()).address
    algorithm = b"\x0bhmac-sha256\0"
    now = bytes.fromhex("000065a0b0c0") + b"\1\x2c"

    def tsig(rclass=255, mac=bytes(32), error=0):
        data = algorithm + now + struct.pack("!H", len(mac)) + mac + b"\x12\x67"
        data += struct.pack("!HH", error, 0)
        return b"\3key\0" + struct.pack("!HHIH", TSIG, rclass, 0, len(data)) + data

    packet = asked(tsig())
    reply = exchange(address, packet, tcp=tcp)
    assert reply == b"\x12\x67\x80\x09" + packet[4 : -len(tsig())] + tsig(mac=b"", error=17)
    for rest, counts in ((tsig() + opt(), (1, 0, 0, 2)), (tsig(rclass=1), ALONE),
                         (tsig() * 2, (1, 0, 0, 2)), (tsig(), (1, 1, 0, 0))):  # fmt: skip
        reply = exchange(address, asked(rest, counts=counts), tcp=tcp)
        assert reply[:4] == b"\x12\x67\x80\x01", counts
