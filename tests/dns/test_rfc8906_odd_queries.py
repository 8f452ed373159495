"""Odd and broken packets: RFC 8906 (answer, do not drop), RFC 9619 (one question)."""

import pytest

FORMERR = "8001"
NOTIMP = "4"
HEADER_ONLY = "0000000000000000"


def header(flags=0, qd=1, an=0, ns=0, ar=0):
    return b"".join(n.to_bytes(2, "big") for n in (4711, flags, qd, an, ns, ar))


QUESTION = b"\3web\7service\x09callboard\x08internal\0\0\1\0\1"


@pytest.mark.parametrize(
    "wire",
    [b"", header()[:11], header(0x8000) + QUESTION, header(0x8180) + QUESTION, header(0xFFFF)],
    ids=["empty", "11 bytes", "QR", "QR RD RA", "all ones"],
)
def test_silence_for_responses_and_fragments(board, wire):
    assert board.raw(wire) is None


@pytest.mark.parametrize(
    "wire",
    [
        header(), header(qd=0), header(qd=2) + QUESTION * 2, header() + QUESTION[:-1],
        header() + QUESTION[:-5], header() + b"\x40" + QUESTION, header() + b"\x80" + QUESTION,
        header() + b"\xc0\x0c\0\1\0\1", header() + b"\xc0\x00\0\1\0\1",
        header() + b"\xff\xff\0\1\0\1", header() + (b"\1x" * 127 + b"\1x\0") + b"\0\1\0\1",
        header(an=1) + QUESTION, header(ar=0xFFFF) + QUESTION,
    ],
    ids=[
        "no question", "QDCOUNT 0", "QDCOUNT 2", "no class", "no type", "label type 01",
        "label type 10", "own pointer", "header pointer", "forward pointer", "257 octets",
        "missing record", "65535 records",
    ],
)  # fmt: skip
def test_malformed_is_a_bare_formerr(board, wire):
    assert board.raw(wire) == wire[:2] + bytes.fromhex(FORMERR + HEADER_ONLY)


@pytest.mark.parametrize("opcode", range(1, 16))
def test_other_opcodes_are_notimp_with_the_opcode_and_no_other_flag(board, opcode):
    reply = board.raw(header(opcode << 11 | 0x7F0 & 0x0130) + QUESTION)
    assert reply == header()[:2] + (0x8004 | opcode << 11).to_bytes(2, "big") + bytes(8)


def test_a_name_of_255_octets_is_answered(board):
    name = b"\1x" * 117 + QUESTION[12:32]
    assert len(name) == 254
    reply = board.raw(header() + b"\1x" * 115 + b"\2xx" + QUESTION[12:32] + b"\0\1\0\1")
    assert reply[3] & 0xF == 3


def test_trailing_bytes_and_foreign_records_are_ignored(board):
    board.register()
    sig0 = b"\0\0\x18\0\xff\0\0\0\0\0\0"
    for wire in (header() + QUESTION + b"junk", header(ar=1) + QUESTION + sig0):
        assert board.raw(wire)[:8] == header()[:2] + bytes.fromhex("840000010001")
    tsig = b"\0\0\xfa\0\xff\0\0\0\0\0\0"
    assert board.raw(header(ar=1) + QUESTION + tsig)[3] == 1, "RFC 8945 section 5.2: FORMERR"


def test_a_bug_becomes_servfail_and_is_counted(board, monkeypatch, caplog):
    def fail(*_args):
        raise RuntimeError("a bug")

    monkeypatch.setattr(board.responder._answers, "answer", fail)
    assert board.raw(header() + QUESTION) == header()[:2] + bytes.fromhex("8002" + HEADER_ONLY)
    assert board.responder.counters.events["internal_error"] == 1
    assert "a bug" in caplog.text


@pytest.mark.parametrize("qtype", [0, 10, 41, 46, 128, 249, 253, 254, 666, 65280, 65535])
@pytest.mark.parametrize("tcp", [False, True])
def test_types_that_are_no_data_are_nodata_or_nxdomain(board, qtype, tcp):
    """RFC 3597: unknown types are like those that are known and not there."""
    board.register()
    assert board.shape("web.service", f"TYPE{qtype}", tcp=tcp) == "NOERROR AA 0/1/0"
    assert board.shape("nope.service", f"TYPE{qtype}", tcp=tcp) == "NXDOMAIN AA 0/1/0"


@pytest.mark.parametrize("label", [b"we\0b", b"web.service", b"*", b"\xff", b"web "])
def test_labels_of_any_bytes_are_other_names(board, label):
    board.register()
    name = bytes((len(label),)) + label + QUESTION[4:]
    reply = board.raw(header() + name)
    assert reply[2:12] == bytes.fromhex("8403" + "0001000000010000")
    assert reply[12 : 12 + len(name)] == name


def test_a_soa_below_the_apex_stands_in_the_authority_section(board):
    reply = board.register().ask("web.service", "SOA")
    assert reply.answer == []
    assert [(str(one.name), one.ttl) for one in reply.authority] == [("callboard.internal.", 5)]
