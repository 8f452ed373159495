"""TSIG (RFC 8945) against dnspython, which signs and verifies by itself; and the key file."""

import base64

import dns.edns
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import pytest
from callboard.dns.options import EdnsOptions
from callboard.dns.transfer.keys import BadKeyFile, key_name, parse_keys, read_key_file
from callboard.dns.transfer.sections import Malformed
from callboard.dns.transfer.transfers import Asker
from callboard.dns.transfer.tsig import Refused, Signer, Verified, signature_bytes, verify
from hypothesis import given
from hypothesis import strategies as st

SECRET = base64.b64encode(bytes(range(32))).decode()
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
STATEMENT = 'key "Transfer.Example" {{\n\talgorithm {};\n\tsecret "{}";\n}};\n'
NAME = key_name("transfer.example")


def keys_of(algorithm="hmac-sha256"):
    return parse_keys(STATEMENT.format(algorithm, SECRET))


def a_query(algorithm="hmac-sha256", name="transfer.example", secret=SECRET, **options):
    query = dns.message.make_query("callboard.internal.", "SOA", **options)
    query.use_tsig({dns.name.from_text(name): base64.b64decode(secret)}, algorithm=algorithm)
    return query


def signed(query, at_s=None, monkeypatch=None):
    if at_s is not None:
        monkeypatch.setattr("time.time", lambda: at_s)
    wire = query.to_wire()
    return wire, query.tsig[0].time_signed


def bare_reply(query):
    """A reply without TSIG, as somebody would make it who knows of none."""
    plain = dns.message.make_query(query.question[0].name, query.question[0].rdtype, id=query.id)
    return dns.message.make_response(plain).to_wire()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("options", [{}, {"use_edns": 0}])
def test_what_dnspython_signs_is_verified_and_the_reply_too(algorithm, options):
    query = a_query(algorithm, **options)
    wire, now_s = signed(query)
    found = verify(wire, keys_of(algorithm), now_s)
    assert isinstance(found, Verified)
    plain = dns.message.from_wire(found.message)
    assert not plain.had_tsig
    assert plain.question == query.question
    reply = found.signer.sign(bare_reply(query), now_s)
    read = dns.message.from_wire(reply, keyring=query.keyring, request_mac=query.mac)
    assert read.had_tsig
    assert read.tsig_error == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_takes_as_much_room_as_is_said(algorithm):
    [key] = keys_of(algorithm).values()
    assert len(Signer(key).sign(bytes(12), 1_700_000_000)) == 12 + signature_bytes(key)


def test_each_message_of_a_long_transfer_is_signed_when_it_is_made(
    transfer_board, make_instance, monkeypatch
):
    """It may take an hour, and clocks may be five minutes apart."""
    board = transfer_board(keys=keys_of())
    board.put(*(make_instance(id=f"i{n}", tags=("v2", "v3")) for n in range(1000)))
    board.transfers.settle()
    query = dns.message.make_query("callboard.internal.", "AXFR")
    query.use_tsig({dns.name.from_text("transfer.example"): base64.b64decode(SECRET)})
    wire, began_s = signed(query)
    now_s, context = began_s, None
    asker = Asker("127.0.0.1", True, lambda: now_s)
    for message in board.transfers.answer(wire, asker):
        monkeypatch.setattr("time.time", lambda now_s=now_s: now_s)
        read = dns.message.from_wire(
            message, keyring=query.keyring, request_mac=query.mac, multi=True,
            tsig_ctx=context, one_rr_per_rrset=True,
        )  # fmt: skip
        context = read.tsig_ctx
        now_s += 200
    assert now_s > began_s + 300


@pytest.mark.parametrize("bad", ["cookie", "update"])
def test_what_is_refused_is_signed_too(transfer_board, bad):
    options = EdnsOptions.configured([bytes(16)], lambda: 1_700_000_000.0, b"", 10.0)
    board = transfer_board(keys=keys_of(), options=options)
    cookie = [dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12")]
    query = a_query(use_edns=0, options=cookie if bad == "cookie" else [])
    if bad == "update":
        query.set_opcode(dns.opcode.UPDATE)
    wire, now_s = signed(query)
    [reply] = board.send(wire, now_s=now_s)
    read = dns.message.from_wire(reply, keyring=query.keyring, request_mac=query.mac)
    assert read.had_tsig
    assert read.rcode() == (dns.rcode.FORMERR if bad == "cookie" else dns.rcode.NOTIMP)


def test_a_reply_of_many_messages_is_a_chain():
    """Section 5.3.1: each is signed over the one before, with the timers alone."""
    query = a_query()
    wire, now_s = signed(query)
    signer = verify(wire, keys_of(), now_s).signer
    context = None
    for number in range(5):
        reply = signer.sign(bare_reply(query), now_s + number)
        read = dns.message.from_wire(
            reply, keyring=query.keyring, request_mac=query.mac, multi=True,
            tsig_ctx=context, one_rr_per_rrset=True,
        )  # fmt: skip
        context = read.tsig_ctx
        assert read.had_tsig


def test_our_own_request_is_verified_by_dnspython_and_its_reply_by_us(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_700_000_000)
    key = keys_of()[NAME]
    signer = Signer(key)
    plain = dns.message.make_query("callboard.internal.", "SOA")
    wire = signer.sign(plain.to_wire(), 1_700_000_000)
    keyring = {dns.name.from_text("transfer.example"): dns.tsig.Key("transfer.example", SECRET)}
    query = dns.message.from_wire(wire, keyring=keyring)
    reply = dns.message.make_response(query).to_wire()
    assert isinstance(verify(reply, keys_of(), 1_700_000_000, signer.mac), Verified)
    refused = verify(reply, keys_of(), 1_700_000_000, b"\1" * 32)
    assert (type(refused), refused.error) == (Refused, 16)


@pytest.mark.parametrize(
    ("options", "at_s", "error", "raised"),
    [
        ({"name": "other.example"}, 0, 17, dns.tsig.PeerBadKey),
        ({"algorithm": "hmac-sha1"}, 0, 17, dns.tsig.PeerBadKey),
        ({"secret": base64.b64encode(b"x" * 32).decode()}, 0, 16, dns.tsig.PeerBadSignature),
        ({}, 301, 18, dns.tsig.PeerBadTime),
        ({}, -301, 18, dns.tsig.PeerBadTime),
    ],
)
def test_what_does_not_hold_is_refused_in_a_way_that_dnspython_understands(
    options, at_s, error, raised
):
    query = a_query(**options)
    wire, now_s = signed(query)
    refused = verify(wire, keys_of(), now_s + at_s)
    assert isinstance(refused, Refused)
    assert refused.error == error
    reply = refused.sign(bare_reply(query), now_s + at_s)
    tsig = dns.message.from_wire(reply, keyring=False).tsig[0]
    assert (tsig.error, tsig.original_id, bool(tsig.mac)) == (error, query.id, error == 18)
    if error == 18:
        assert int.from_bytes(tsig.other, "big") == now_s + at_s
    with pytest.raises(raised):
        dns.message.from_wire(reply, keyring=query.keyring, request_mac=query.mac)


def test_clocks_may_be_five_minutes_apart():
    wire, now_s = signed(a_query())
    assert isinstance(verify(wire, keys_of(), now_s + 300), Verified)
    assert isinstance(verify(wire, keys_of(), now_s - 300), Verified)


def with_mac(wire, mac):
    """The same message with another MAC: the fields behind it are 6 bytes."""
    size = 32
    head, tail = wire[: -6 - size - 2], wire[-6:]
    rdlength_at = wire.index(b"\x00\xfa\x00\xff") + 8
    rdlength = int.from_bytes(wire[rdlength_at : rdlength_at + 2], "big") + len(mac) - size
    head = head[:rdlength_at] + rdlength.to_bytes(2, "big") + head[rdlength_at + 2 :]
    return head + len(mac).to_bytes(2, "big") + mac + tail


@pytest.mark.parametrize(("keep", "error"), [(0, 16), (16, 22), (31, 22)])
def test_short_signatures_are_not_enough(keep, error):
    wire, now_s = signed(a_query())
    refused = verify(with_mac(wire, wire[-38:-6][:keep]), keys_of(), now_s)
    assert (type(refused), refused.error) == (Refused, error)


@pytest.mark.parametrize("mac", [b"x" * 9, b"x" * 15, b"x" * 33])
def test_signatures_of_no_possible_length_are_malformed(mac):
    wire, now_s = signed(a_query())
    with pytest.raises(Malformed):
        verify(with_mac(wire, mac), keys_of(), now_s)


def test_a_tsig_that_is_not_last_is_malformed():
    wire, now_s = signed(a_query())
    twice = wire[:10] + b"\0\2" + wire[12:] + b"\0\0\x29\4\xd0\0\0\0\0\0\0"
    with pytest.raises(Malformed):
        verify(twice, keys_of(), now_s)
    with pytest.raises(Malformed):
        verify(wire + b"x", keys_of(), now_s)
    in_class_in = wire.replace(b"\x00\xfa\x00\xff", b"\x00\xfa\x00\x01")
    with pytest.raises(Malformed):
        verify(in_class_in, keys_of(), now_s)


@given(at=st.integers(0, 500), value=st.integers(0, 255), cut=st.integers(0, 200))
def test_no_change_to_a_signed_message_is_verified(at, value, cut):
    wire = Signer(keys_of()[NAME]).sign(a_plain_query(), 1_700_000_000)
    changed = bytearray(wire)
    changed[at % len(wire)] = value
    # The packet's id is not signed (the TSIG holds the original), names are in any letter case.
    same = changed.lower()[2:] == wire.lower()[2:]
    for message in (bytes(changed), wire[:-cut] if cut else wire):
        try:
            found = verify(message, keys_of(), 1_700_000_000)
        except Malformed:
            continue
        assert not isinstance(found, Verified) or same or message == wire


def a_plain_query():
    return dns.message.make_query("callboard.internal.", "AXFR", id=4711).to_wire()


def test_a_key_file_is_read_as_tsig_keygen_and_keymgr_write_it(tmp_path):
    path = tmp_path / "keys"
    bind = f'// two\nkey "a." {{\n algorithm hmac-sha256;\n secret "{SECRET}";\n}};\n'
    bind += f"key b.example {{ secret {SECRET}; algorithm hmac-sha512; }};"
    knot = f"# hmac-sha256:a:{SECRET}\nkey:\n  - id: a\n    algorithm: hmac-sha256\n"
    knot += f"    secret: {SECRET}\n"
    for text, names in ((bind, ["a", "b.example"]), (knot, ["a"])):
        path.write_text(text)
        path.chmod(0o600)
        keys = read_key_file(str(path))
        assert list(keys) == [key_name(name) for name in names]
        assert all(key.secret == bytes(range(32)) for key in keys.values())
        assert SECRET not in repr(keys)
        assert repr(bytes(range(32))) not in repr(keys)


def test_a_secret_may_look_like_a_comment():
    secret = base64.b64encode(b"\xff" * 32).decode()
    assert "//" in secret
    (key,) = parse_keys(f'key "a" {{ algorithm "hmac-sha256"; secret "{secret}"; }};').values()
    assert key.secret == b"\xff" * 32


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no key"),
        (STATEMENT.format("hmac-md5", SECRET), "hmac-md5 is not accepted"),
        (STATEMENT.format("hmac-sha1", SECRET), "hmac-sha1 is not accepted"),
        (STATEMENT.format("hmac-sha256", "c2hvcnQ="), "less than 16 bytes"),
        (STATEMENT.format("hmac-sha256", "???"), "not base64"),
        (STATEMENT.format("hmac-sha256", SECRET) * 2, "twice"),
        ('key "x" { algorithm hmac-sha256; };', "one algorithm and one secret"),
        ("keys are here", "cannot be understood"),
    ],
)
def test_a_key_file_that_is_none_is_refused_without_its_secrets(tmp_path, text, says):
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(BadKeyFile, match=says) as error:
        read_key_file(str(path))
    assert SECRET not in str(error.value)


def test_a_key_file_for_everybodys_eyes_is_refused(tmp_path):
    path = tmp_path / "keys"
    path.write_text(STATEMENT.format("hmac-sha256", SECRET))
    path.chmod(0o640)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        read_key_file(str(path))
    with pytest.raises(BadKeyFile, match="cannot be read"):
        read_key_file(str(tmp_path / "nothing"))
