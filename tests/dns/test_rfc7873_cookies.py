"""DNS cookies: RFC 7873, in the form of RFC 9018; with what else stands in an OPT."""

import socket
import struct

import dns.edns
import dns.message
import dns.rcode
import pytest
from callboard.dns.cookie_secrets import BadCookieSecret, read_secrets
from callboard.dns.cookies import ServerCookies
from callboard.dns.options import EdnsOptions
from callboard.dns.siphash import siphash_2_4

SECRET = bytes(range(16))
NOW_S = 1_800_000_000
CLIENT = bytes.fromhex("2464c4abcf10c957")
ADDRESS = socket.inet_aton("198.51.100.100")
COOKIE = 10


class Clock:
    now_s = NOW_S

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cookies(clock):
    return ServerCookies([SECRET], clock)


@pytest.fixture
def web(make_board, cookies):
    return make_board(options=EdnsOptions(cookies, b"node-1", 10.0)).register()


def ask(board, *values, name="web.service", code=COOKIE, tcp=False, client=ADDRESS, **options):
    given = [dns.edns.GenericOption(code, value) for value in values]
    asked = board.query(name, use_edns=0, options=given, **options)
    return dns.message.from_wire(board.responder.respond(asked.to_wire(), tcp=tcp, client=client))


def options_of(reply):
    return [(int(one.otype), one.to_wire()) for one in reply.options]


def test_siphash_of_its_authors():
    key = bytes(range(16))
    assert siphash_2_4(key, b"").hex() == "310e0edd47db6f72"
    assert siphash_2_4(key, bytes(range(15))).hex() == "e545be4961ca29a1"


def test_the_cookie_of_rfc_9018_appendix_a1():
    secret = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
    cookies = ServerCookies([secret], lambda: 1559731985)
    cookie, valid = cookies.reply(CLIENT, ADDRESS)
    assert (cookie[8:].hex(), valid) == ("010000005cf79f111f8130c3eee29480", False)


def test_a_client_cookie_gets_ours_and_its_answer_at_once(web):
    reply = ask(web, CLIENT)
    [(code, cookie)] = options_of(reply)
    assert (code, len(cookie), cookie[:12]) == (COOKIE, 24, CLIENT + b"\1\0\0\0")
    assert (reply.rcode(), len(reply.answer)) == (dns.rcode.NOERROR, 1)
    assert web.responder.vouched is False


def test_ours_comes_back_as_it_was_and_vouches(web):
    [(_, cookie)] = options_of(ask(web, CLIENT))
    assert options_of(ask(web, cookie)) == [(COOKIE, cookie)]
    assert web.responder.vouched is True
    ask(web, cookie, client=socket.inet_aton("198.51.100.101"))
    assert web.responder.vouched is False, "it is good for one address"
    web.ask("web.service")
    assert web.responder.vouched is False


def test_one_host_has_one_cookie_at_both_kinds_of_sockets(cookies):
    cookie, _ = cookies.reply(CLIENT, ADDRESS)
    assert cookies.reply(cookie, bytes(10) + b"\xff\xff" + ADDRESS) == (cookie, True)


@pytest.mark.parametrize(
    ("age_s", "valid", "same"),
    [(-301, False, False), (-300, True, True), (1800, True, True), (1801, True, False),
     (3600, True, False), (3601, False, False)],
)  # fmt: skip
def test_cookies_age(cookies, clock, age_s, valid, same):
    cookie, _ = cookies.reply(CLIENT, ADDRESS)
    clock.now_s += age_s
    renewed, was_valid = cookies.reply(cookie, ADDRESS)
    assert (was_valid, renewed == cookie) == (valid, same)


def test_time_runs_over(clock, cookies):
    clock.now_s = 2**32 - 10
    cookie, _ = cookies.reply(CLIENT, ADDRESS)
    clock.now_s += 20
    assert cookies.reply(cookie, ADDRESS) == (cookie, True)


def test_the_secret_before_is_still_good_and_replaced(cookies, clock):
    old, _ = cookies.reply(CLIENT, ADDRESS)
    rotated = ServerCookies([bytes(16), SECRET], clock)
    new, valid = rotated.reply(old, ADDRESS)
    assert valid
    assert new != old
    _, valid = ServerCookies([bytes(16)], clock).reply(old, ADDRESS)
    assert not valid


@pytest.mark.parametrize("size", [0, 1, 7, 9, 15, 41])
def test_impossible_lengths_are_formerr(web, size):
    reply = ask(web, bytes(size))
    assert (reply.rcode(), options_of(reply), reply.answer) == (dns.rcode.FORMERR, [], [])
    assert (len(reply.question), reply.edns) == (1, 0)


@pytest.mark.parametrize("size", [16, 24, 40])
def test_a_foreign_server_cookie_is_answered_with_ours(web, size):
    reply = ask(web, CLIENT + bytes(size - 8))
    [(_, cookie)] = options_of(reply)
    assert (reply.rcode(), len(cookie), len(reply.answer)) == (dns.rcode.NOERROR, 24, 1)


def test_of_two_cookies_the_first_counts(web):
    [(_, cookie)] = options_of(ask(web, CLIENT, bytes(8)))
    assert cookie[:8] == CLIENT


@pytest.mark.parametrize(
    ("name", "rcode"), [("web.service", 0), ("nope", 3), ("example.com.", 5), ("service", 0)]
)
@pytest.mark.parametrize("tcp", [False, True])
def test_every_kind_of_answer_has_a_cookie(web, name, rcode, tcp):
    reply = ask(web, CLIENT, name=name, tcp=tcp)
    assert (reply.rcode(), [code for code, _ in options_of(reply)]) == (rcode, [COOKIE])


def no_question(*, option=b"\0\x0a\0\x08" + CLIENT, flags=0x0100, before=b"", after=b""):
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(option)) + option
    return struct.pack("!6H", 4711, flags, 0, 0, 0, 1) + before + opt + after


def test_a_cookie_can_be_asked_for_without_a_question(web):
    reply = web.responder.respond(no_question(), client=ADDRESS)
    assert reply[:12] == struct.pack("!6H", 4711, 0x8100, 0, 0, 0, 1)
    [(_, cookie)] = options_of(dns.message.from_wire(reply))
    assert (cookie[:8], len(cookie)) == (CLIENT, 24)


@pytest.mark.parametrize(
    "wire",
    [no_question(option=b""), no_question(option=b"\0\x0a\0\x07" + CLIENT[:7]),
     no_question(option=b"\0\3\0\0"), no_question(after=b"x"), no_question()[:-1],
     no_question(before=b"\1x")],
    ids=["no option", "bad length", "NSID only", "trailing", "cut", "owner"],
)  # fmt: skip
def test_no_question_and_no_cookie_is_formerr(web, wire):
    assert web.responder.respond(wire, client=ADDRESS) == wire[:2] + bytes.fromhex("8001") + bytes(
        8
    )


def test_queries_with_cookies_share_the_answer_of_those_without(web):
    counters = web.responder.counters
    ask(web, CLIENT)
    assert (len(web.responder.udp), counters.udp_fast.total()) == (1, 0)
    for number in range(20):
        ask(web, number.to_bytes(8, "big"))
    assert (len(web.responder.udp), counters.udp_fast.total()) == (1, 20)
    plain = web.ask("web.service", use_edns=0)
    assert (plain.options, counters.udp_fast.total()) == ((), 21)


@pytest.mark.parametrize("count", [71, 72, 73, 74, 75, 76])
@pytest.mark.parametrize("options", [[], [CLIENT]])
def test_options_count_in_the_size(make_board, cookies, count, options):
    board = make_board(options=EdnsOptions(cookies))
    for number in range(count):
        board.register("web", f"i{number}", f"10.0.0.{number}")
    reply = ask(board, *options, payload=4096)
    size = 12 + 36 + 11 + 16 * count + 28 * len(options)
    fits = size <= 1232
    assert (len(reply.to_wire()) <= 1232, bool(reply.flags & dns.flags.TC)) == (True, not fits)
    assert sum(map(len, reply.answer)) == (count if fits else 0)
    assert len(reply.options) == len(options)


def test_a_cookie_puts_out_the_additional_section_before_the_answer(make_board, cookies):
    board = make_board(options=EdnsOptions(cookies))
    for number in range(30):
        board.register("web", f"i{number}", f"10.0.0.{number}")
        plain = len(board.query("web.service", "SRV", use_edns=0, payload=4096).to_wire())
        asked = board.query("web.service", "SRV", use_edns=0, payload=4096).to_wire()
        if len(board.raw(asked)) > 1232 - 28 and plain:
            break
    reply = ask(board, CLIENT, rdtype="SRV", payload=4096)
    assert (bool(reply.flags & dns.flags.TC), sum(map(len, reply.answer))) == (False, number + 1)
    assert reply.additional == []


def test_nsid_is_told_to_who_asks(web, make_board):
    assert options_of(ask(web, b"", code=3)) == [(3, b"node-1")]
    assert options_of(ask(web, b"whatever", code=3)) == [(3, b"node-1")]
    assert options_of(ask(web, b"x", code=65001)) == []
    assert options_of(ask(make_board().register(), b"", code=3)) == []


def test_keepalive_is_for_tcp(web):
    assert options_of(ask(web, b"", code=11, tcp=True)) == [(11, b"\0\x64")]
    assert options_of(ask(web, b"", code=11)) == []


def test_another_version_is_badvers_without_options(web):
    asked = web.query("web.service")
    asked.use_edns(1, options=[dns.edns.GenericOption(COOKIE, CLIENT)])
    reply = dns.message.from_wire(web.responder.respond(asked.to_wire(), client=ADDRESS))
    assert (reply.rcode(), reply.options) == (dns.rcode.BADVERS, ())


def test_secrets_are_read_from_a_private_file(tmp_path):
    path = tmp_path / "secrets"
    path.write_text("00" * 16 + "\n" + "ab" * 16 + "\n")
    path.chmod(0o600)
    assert read_secrets(str(path)) == (bytes(16), b"\xab" * 16)
    path.chmod(0o644)
    with pytest.raises(BadCookieSecret, match="chmod 600"):
        read_secrets(str(path))
    assert read_secrets(None) != read_secrets(None)


@pytest.mark.parametrize("text", ["", "00" * 15, "zz" * 16, "é"])
def test_other_files_are_refused_without_a_quote(tmp_path, text):
    path = tmp_path / "secrets"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(BadCookieSecret, match="32 hex digits") as raised:
        read_secrets(str(path))
    assert not text or text not in str(raised.value)
