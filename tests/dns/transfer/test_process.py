"""The process of transfers behind a real front, asked by dig, kdig and dnspython."""

import asyncio
import re
import socket

import dns.asyncquery
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.tsig
import pytest
from callboard.dns import DnsFrontError, TransferConfig
from callboard.dns.transfer.grants import parse_grant, parse_target
from callboard.registry import InstanceName

import dns.query

PATIENCE_S = 10
SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
KEY = f'key "transfer" {{ algorithm hmac-sha256; secret "{SECRET}"; }};'
KEYRING = {dns.name.from_text("transfer"): dns.tsig.Key("transfer", SECRET)}
SIGNED = f"hmac-sha256:transfer:{SECRET}"


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "keys"
    path.write_text(KEY)
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def start(start_front, key_file):
    async def start(*grants, notify=(), **options):
        transfer = TransferConfig(
            tuple(map(parse_grant, grants)), tuple(map(parse_target, notify)), key_file
        )
        return await start_front(transfer=transfer, **options)

    return start


@pytest.fixture
def web(registry, make_instance):
    for n in range(3):
        registry.put(make_instance(id=f"i{n}", address=f"10.0.0.{n}"))
    return registry


async def run(*command):
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode()


def dig(front, *arguments):
    host, port = front.address
    return run("dig", f"@{host}", "-p", str(port), "+tries=1", "+time=5", *arguments)


def kdig(front, *arguments):
    host, port = front.address
    return run("kdig", f"@{host}", "-p", str(port), "+retry=0", *arguments)


async def eventually(check):
    async with asyncio.timeout(PATIENCE_S):
        while not await check():  # noqa: ASYNC110  # another process changes it
            await asyncio.sleep(0.02)


@pytest.mark.foreign("dig", "kdig")
@pytest.mark.parametrize("workers", [1, 2])
async def test_dig_and_kdig_transfer_the_zone(web, start, workers):
    front = await start("127.0.0.1", workers=workers)
    for ask in (dig, kdig):
        output = await ask(front, "callboard.internal", "AXFR")
        assert output.count("SOA\tns.callboard.internal.") == 2
        assert re.search(r"web\.service\.callboard\.internal\.\s+5\s+IN\s+A\s+10\.0\.0\.1", output)
        assert "WARN" not in output.upper()
        output = await ask(front, "callboard.internal", f"IXFR={web.index}")
        assert output.count("SOA\tns.callboard.internal.") == 1


@pytest.mark.foreign("dig", "kdig")
async def test_an_incremental_transfer_follows_the_registry(web, start, make_instance):
    front = await start("127.0.0.1")
    before = web.index
    await dig(front, "callboard.internal", "AXFR")
    for n in range(3, 20):
        web.put(make_instance("other", id=f"i{n}", address=f"10.0.0.{n}"))
    web.drop(InstanceName("default", "web", "i1"))

    async def follows():
        output = await kdig(front, "callboard.internal", f"IXFR={before}")
        return str(web.index) in output and "10.0.0.19" in output

    await eventually(follows)
    output = await dig(front, "callboard.internal", f"IXFR={before}")
    assert output.count("SOA\tns.callboard.internal.") == 4


@pytest.mark.foreign("dig", "kdig")
async def test_a_copy_that_is_too_old_is_not_handed_out(web, start):
    front = await start("127.0.0.1", max_stale_s=60)
    for stale_ms, says in ((61_000.0, "SERVFAIL"), (0.0, "10.0.0.1")):
        web.stale_ms = stale_ms

        async def answers(says=says):
            whole = await kdig(front, "callboard.internal", "AXFR")
            newer = await kdig(front, "callboard.internal", "IXFR=1")
            return says in whole and says in newer

        await eventually(answers)


@pytest.mark.foreign("dig", "kdig")
async def test_signed_transfers(web, start):
    front = await start("127.0.0.1,key:transfer")
    for ask in (dig, kdig):
        assert "10.0.0.1" in await ask(front, "-y", SIGNED, "callboard.internal", "AXFR")
        unsigned = await ask(front, "callboard.internal", "AXFR")
        assert "10.0.0.1" not in unsigned
    assert "REFUSED" in await kdig(front, "callboard.internal", "AXFR")
    wrong = SIGNED.replace("AAEC", "BBEC")
    for key, error in ((wrong, "BADSIG"), (f"hmac-sha256:x:{SECRET}", "BADKEY")):
        output = await kdig(front, "-y", key, "callboard.internal", "SOA")
        assert error in output


@pytest.mark.foreign("faketime", "kdig")
async def test_a_clock_that_is_wrong_is_told_so(web, start):
    front = await start("127.0.0.1,key:transfer")
    host, port = front.address
    output = await run(
        "faketime", "-f", "-1h", "kdig", f"@{host}", "-p", str(port), "-y", SIGNED,
        "callboard.internal", "SOA",
    )  # fmt: skip
    assert "BADTIME" in output


@pytest.mark.parametrize("batched", [True, False])
async def test_signed_questions_are_answered_over_udp_too(web, start, batched):
    front = await start("127.0.0.1,key:transfer", batched=batched)
    host, port = front.address
    for rdtype in ("SOA", "A"):
        asked = dns.message.make_query("web.service.callboard.internal.", rdtype)
        asked.use_tsig(KEYRING, algorithm="hmac-sha256")
        reply = await dns.asyncquery.udp(asked, host, timeout=PATIENCE_S, port=port)
        assert reply.had_tsig
        assert bool(reply.answer) == (rdtype == "A")
        assert bool(reply.authority) == (rdtype == "SOA")


async def test_other_questions_on_the_same_connection_are_answered(web, start):
    front = await start("127.0.0.1")
    host, port = front.address
    reader, writer = await asyncio.open_connection(host, port)
    asked = [
        dns.message.make_query(name, rdtype, id=n)
        for n, (name, rdtype) in enumerate(
            (("web.service.callboard.internal.", "A"), ("callboard.internal.", "AXFR"),
             ("web.service.callboard.internal.", "SRV"), ("callboard.internal.", "SOA"))
        )
    ]  # fmt: skip
    for one in asked:
        wire = one.to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
    for n, count in enumerate((1, 20, 1, 1)):
        size = int.from_bytes(await reader.readexactly(2), "big")
        reply = dns.message.from_wire(await reader.readexactly(size))
        assert reply.id == n
        assert len(reply.answer) >= count
    writer.close()
    await writer.wait_closed()


async def test_who_may_not_have_a_zone_is_not_kept(web, start):
    front = await start("192.0.2.1")
    reader, writer = await asyncio.open_connection(*front.address)
    wire = dns.message.make_query("callboard.internal.", "AXFR").to_wire()
    writer.write(len(wire).to_bytes(2, "big") + wire)
    async with asyncio.timeout(PATIENCE_S):
        reply = await reader.read()
    assert dns.message.from_wire(reply[2:]).rcode() == dns.rcode.REFUSED
    writer.close()
    await writer.wait_closed()


async def test_a_slow_reader_of_a_large_zone_holds_up_nobody(registry, start, make_instance):
    for n in range(20_000):
        registry.put(make_instance(f"s{n}", address=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"))
    front = await start("127.0.0.1")
    slow = socket.create_connection(front.address)
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire = dns.message.make_query("callboard.internal.", "AXFR").to_wire()
    slow.sendall(len(wire).to_bytes(2, "big") + wire)
    host, port = front.address
    asked = dns.message.make_query("s7.service.callboard.internal.", "A")
    for n in range(50):
        registry.put(make_instance("other", f"more{n}", address=f"10.9.9.{n}"))
        assert (await dns.asyncquery.udp(asked, host, timeout=1, port=port)).answer
    output = await kdig(front, "callboard.internal", "AXFR")
    assert output.count("\n") > 20_000 * 10
    slow.close()


async def test_changes_are_notified_at_most_once_a_second_until_heard(web, start, make_instance):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as secondary:
        secondary.bind(("127.0.0.1", 0))
        secondary.setblocking(False)
        loop = asyncio.get_running_loop()
        port = secondary.getsockname()[1]
        await start(notify=(f"127.0.0.1:{port},key:transfer",))

        async def heard(answers=True):
            async with asyncio.timeout(PATIENCE_S):
                data, sender = await loop.sock_recvfrom(secondary, 4096)
            notice = dns.message.from_wire(data, keyring=KEYRING)
            assert notice.opcode() == dns.opcode.NOTIFY
            assert notice.question[0].name == dns.name.from_text("callboard.internal.")
            if answers:
                await loop.sock_sendto(
                    secondary, dns.message.make_response(notice).to_wire(), sender
                )
            return notice.answer[0][0].serial

        assert await heard() == web.index
        for n in range(50):
            web.put(make_instance(id=f"n{n}"))
        serials = [await heard(answers=False)]
        while serials[-1] != web.index:
            serials.append(await heard(answers=False))
        assert len(serials) <= 3
        assert await heard() == web.index, "not heard, hence said again"


@pytest.mark.foreign("kdig")
async def test_what_one_secondary_has_asked_for_the_others_still_hear_of(web, start, make_instance):
    """A request settles the changes so far before their second is over."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as secondary:
        secondary.bind(("127.0.0.1", 0))
        secondary.setblocking(False)
        loop = asyncio.get_running_loop()
        port = secondary.getsockname()[1]
        front = await start("127.0.0.1", notify=(f"127.0.0.1:{port}",))

        async def heard(serial):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    data, sender = await loop.sock_recvfrom(secondary, 4096)
                    notice = dns.message.from_wire(data)
                    reply = dns.message.make_response(notice).to_wire()
                    await loop.sock_sendto(secondary, reply, sender)
                    if notice.answer[0][0].serial == serial:
                        return

        await heard(web.index)
        web.put(make_instance(id="first"))
        await heard(web.index)
        web.put(make_instance(id="second"))

        async def has_it():
            return f" {web.index} 3600" in await kdig(front, "callboard.internal", "AXFR")

        await eventually(has_it)
        await heard(web.index)


@pytest.mark.parametrize(
    ("grant", "keys", "says"),
    [
        ("127.0.0.1,key:other", True, "other .* is not in"),
        ("127.0.0.1,key:other", False, "needs --dns-tsig-key"),
        ("127.0.0.1", "/nowhere", "cannot be read"),
    ],
)
async def test_a_front_without_its_keys_does_not_start(start_front, key_file, grant, keys, says):
    file = key_file if keys is True else keys or None
    with pytest.raises(DnsFrontError, match=says):
        await start_front(transfer=TransferConfig((parse_grant(grant),), (), file))
