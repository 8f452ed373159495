"""RFC 7873 section 5.2.3: cookies are demanded of a network that asks too much, of nobody else."""

import asyncio
import contextlib
import socket

import dns.edns
import dns.message
import pytest
from callboard.dns import RateLimits
from callboard.dns.cookies import ServerCookies
from callboard.dns.limiter import slipped
from callboard.dns.options import EdnsOptions

PATIENCE_S = 30
CLIENT = bytes(range(8))
ADDRESS = socket.inet_aton("198.51.100.1")
QUESTION = b"\3wEb\7service\x09callboard\x08internal\0\0\1\0\1"
OPT_HEAD = b"\0\0\x29\x04\xd0"
"""The root, OPT, and a size of 1232."""


@pytest.fixture
def cookies():
    return ServerCookies([bytes(16)], lambda: 1_800_000_000)


@pytest.fixture
def asked(make_board, cookies):
    """The reply to one question with these options, before anything is held back."""
    board = make_board(options=EdnsOptions(cookies, b"node-1")).register()

    def ask(options):
        opt = OPT_HEAD + b"\0\0\x80\0" + len(options).to_bytes(2, "big") + options
        wire = b"\x12\x67\1\0\0\1\0\0\0\0\0\1" + QUESTION + opt
        return board.responder.respond(wire, client=ADDRESS)

    return ask


def test_who_sends_a_client_cookie_is_told_to_come_back_with_ours(asked, cookies):
    ours, _ = cookies.reply(CLIENT, ADDRESS)
    reply = asked(b"\0\x03\0\0\0\x0a\0\x08" + CLIENT)
    assert reply[3] & 0xF == 0
    # BADCOOKIE is 23: 7 in the header, 1 in the OPT. No AA, no TC, no NSID; DO as it was.
    assert slipped(reply) == (
        b"\x12\x67\x81\x07\0\1\0\0\0\0\0\1" + QUESTION
        + OPT_HEAD + b"\1\0\x80\0" + b"\0\x1c" + b"\0\x0a\0\x18" + ours
    )  # fmt: skip
    assert dns.message.from_wire(slipped(reply)).rcode() == dns.rcode.BADCOOKIE


def test_who_knows_no_cookies_is_told_to_come_back_over_tcp(asked):
    assert slipped(asked(b"\0\x03\0\0")) == (
        b"\x12\x67\x87\0\0\1\0\0\0\0\0\1" + QUESTION + OPT_HEAD + b"\0\0\x80\0" + b"\0\0"
    )


@contextlib.asynccontextmanager
async def flooded(address):
    """Somebody at this host asks more than once a second, without a cookie."""
    wire = dns.message.make_query("web.service.callboard.internal.", "A").to_wire()

    async def flood():
        while True:
            with contextlib.suppress(BlockingIOError):
                client.send(wire)
            await asyncio.sleep(0.02)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(address)
        for _ in range(8):
            client.send(wire)
        task = asyncio.create_task(flood())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("dig", "+cookie", "+norecurse"), marks=pytest.mark.foreign("dig")),
        pytest.param(("kdig", "+cookie"), marks=pytest.mark.foreign("kdig")),
    ],
    ids=["dig", "kdig"],
)  # fmt: skip
async def test_foreign_clients_of_cookies_get_through_a_flood_over_udp(
    command, start_front, registry, make_instance
):
    registry.put(make_instance())
    front = await start_front(limits=RateLimits("on", 1, 1))
    host, port = front.address
    question = (f"@{host}", "-p", str(port), "web.service.callboard.internal", "A")
    async with flooded(front.address), asyncio.timeout(PATIENCE_S):
        output = ""
        # Now and then it is not the flood's question that passes, but this one, at once.
        while "BADCOOKIE" not in output.upper():
            process = await asyncio.create_subprocess_exec(
                *command, *question, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            output = (await process.communicate())[0].decode()
            assert process.returncode == 0, output
            assert "status: NOERROR" in output
            assert "10.0.0.1" in output
            assert "TCP" not in output
