"""Where fuzzing starts: each kind of packet that the DNS tests send, as files in `corpus/`.

`python tests/fuzz/seeds.py` writes them anew.
"""

import struct
from pathlib import Path

import dns.edns
import dns.message

CORPUS = Path(__file__).parent / "corpus"
ZONE = "callboard.internal."
NAMES = {
    "service": "web.service.",
    "case": "wEb.SerVice.",
    "tag": "v2.web.service.",
    "rfc2782": "_web._tcp.",
    "consul": "_web._v2.service.",
    "port": "_metrics._tcp.web.service.",
    "instance": "a.web.instance.",
    "hex": "0a000001.addr.",
    "some": "some.service.",
    "many": "many.service.",
    "alias": "host.service.",
    "circle": "loop.service.",
    "ns": "ns.",
    "apex": "",
    "nobody": "nobody.service.",
    "between": "service.",
    "namespace": "api.service.prod.ns.",
}
TYPES = ("A", "AAAA", "SRV", "TXT", "ANY", "SOA", "NS", "PTR", "AXFR", "IXFR", "HTTPS", "TYPE65280")
QUESTION = b"\3web\7service\x09callboard\x08internal\0"
IN_A = b"\0\1\0\1"
OPT = b"\0\0\x29\4\xd0\0\0\0\0\0\0"


def header(flags=0, *counts):
    return struct.pack("!6H", 0x1267, flags, *(counts or (1, 0, 0, 0)))


def a_query(*args, **options):
    return b"\x12\x67" + dns.message.make_query(*args, **options).to_wire()[2:]


def queries():
    """Well-formed ones."""
    for label, name in NAMES.items():
        yield label, a_query(name + ZONE, "A")
    for rdtype in TYPES:
        for label in ("service", "apex", "many"):
            asked = a_query(NAMES[label] + ZONE, rdtype, use_edns=0, payload=1232)
            yield f"{label}-{rdtype.lower()}", asked
    for size in (0, 511, 512, 600, 1232, 4096, 65535):
        asked = a_query("many.service." + ZONE, "SRV", use_edns=0, payload=size)
        yield f"some-{size}", a_query("some.service." + ZONE, "A", use_edns=0, payload=size)
        yield f"size-{size}", asked
    for kind, data in (
        (3, b""),
        (10, bytes(8)),
        (10, bytes(24)),
        (10, b"short"),
        (8, b"\0\1\x18\0\xc0\0\2"),
    ):
        option = dns.edns.GenericOption(kind, data)
        asked = a_query("web.service." + ZONE, "A", use_edns=0, options=[option])
        yield f"option-{kind}-{len(data)}", asked
    yield "chaos", a_query("version.bind.", "TXT", "CH")
    yield "outside", a_query("example.com.", "A")
    yield "reverse", a_query("1.0.0.10.in-addr.arpa.", "PTR")


def odd_ones():
    """Those that RFC 8906 and attackers send."""
    plain = header() + QUESTION + IN_A
    yield "header-only", header(0, 0, 0, 0, 0)
    yield "header-lies", header()
    yield "short", header()[:7]
    yield "response", header(0x8000) + QUESTION + IN_A
    for opcode in (1, 2, 4, 5, 15):
        yield f"opcode-{opcode}", header(opcode << 11) + QUESTION + IN_A
    for bit in range(4, 11):
        yield f"flag-{bit}", header(1 << bit) + QUESTION + IN_A
    yield "class-any", header() + QUESTION + b"\0\1\0\xff"
    yield "class-zero", header() + QUESTION + b"\0\1\0\0"
    yield "two-questions", header(0, 2, 0, 0, 0) + (QUESTION + IN_A) * 2
    yield "trailing", plain + b"trailing garbage"
    yield "cut", plain[:-3]
    yield "pointer-to-itself", header() + b"\xc0\x0c" + IN_A
    yield "pointer-ahead", header() + b"\xc0\x10" + IN_A + QUESTION
    yield "label-types", header() + b"\x41a\x80b\0" + IN_A
    yield (
        "long-name",
        header()
        + b"\x3f"
        + b"a" * 63
        + b"\x3f"
        + b"b" * 63
        + b"\x3f"
        + b"c" * 63
        + b"\x3f"
        + b"d" * 63
        + b"\0"
        + IN_A,
    )
    yield "many-labels", header() + b"\1x" * 127 + b"\0" + IN_A
    yield "octets", header() + b"\4\0.\\\xff\7service\x09callboard\x08internal\0" + IN_A
    one = header(0, 1, 0, 0, 1) + QUESTION + IN_A
    yield "edns-version", one + b"\0\0\x29\4\xd0\0\1\0\0\0\0"
    yield "edns-flags", one + b"\0\0\x29\4\xd0\0\0\xff\xff\0\0"
    yield "edns-option-lies", one + b"\0\0\x29\4\xd0\0\0\0\0\0\4\0\3\0\x09"
    yield "edns-owner", one + b"\1x" + OPT
    yield "edns-twice", header(0, 1, 0, 0, 2) + QUESTION + IN_A + OPT + OPT
    yield "edns-in-answer", header(0, 1, 1, 0, 0) + QUESTION + IN_A + OPT
    soa = b"\xc0\x10\0\6\0\1\0\0\0\0\0\x16\0\0" + struct.pack("!5I", 5, 0, 0, 0, 0)
    yield "ixfr", header(0, 1, 0, 1, 0) + QUESTION[12:] + b"\0\xfb\0\1" + soa
    tsig = b"\3key\0\0\xfa\0\xff\0\0\0\0\0\x1d\x0bhmac-sha256\0" + bytes(16)
    yield "tsig", one + tsig


def upstream_replies():
    """What a resolver says about `www.example.com A`, asked with id 0x1267."""
    asked = header(0x8180, 1, 1, 0, 0) + b"\3www\7example\3com\0" + IN_A
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
    soa = b"\xc0\x10\0\6\0\1\0\0\0\x3c\0\x16\0\0" + struct.pack("!5I", 5, 0, 0, 0, 30)
    yield "answer", asked + record
    yield "many", asked[:6] + b"\0\x40" + asked[8:] + record * 64
    yield "opt", asked[:10] + b"\0\1" + asked[12:] + record + OPT
    yield "nxdomain", header(0x8183, 1, 0, 1, 0) + asked[12:] + soa
    yield "truncated", header(0x8380, 1, 0, 0, 0) + asked[12:]
    yield "other-id", b"\0\0" + asked[2:] + record
    yield "ttl-sign", asked + record[:6] + b"\xff" + record[7:]
    yield "cut", asked + record[:-2]


def streams():
    """TCP: a byte for the size of the pieces, then what a client sends."""
    packets = [packet for _, packet in [*queries(), *odd_ones()]]
    frames = [struct.pack("!H", len(packet)) + packet for packet in packets]
    yield "one", b"\xff" + frames[0]
    yield "byte-by-byte", b"\1" + frames[0] + frames[20]
    yield "pipelined", b"\x40" + b"".join(frames[:30])
    yield "odd", b"\x11" + b"".join(frames[-30:])
    yield "zero-length", b"\x08" + frames[0] + b"\0\0"
    yield "half", b"\x08" + frames[0][:-4]


def all_seeds():
    """Target and label of each, with its bytes."""
    for target, sources in (
        ("packet", (queries, odd_ones)),
        ("stream", (streams,)),
        ("upstream", (upstream_replies,)),
    ):
        for source in sources:
            for label, data in source():
                yield target, label, data


def main():
    for target, label, data in all_seeds():
        path = CORPUS / target / label
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
