"""Cookies, NSID, class CH, PTR and the serial through worker processes, as dig sees them."""

import asyncio
import re

import pytest
from callboard.dns import DnsIdentity


async def dig(front, *arguments):
    host, port = front.address
    command = ("dig", f"@{host}", "-p", str(port), "+tries=1", "+timeout=5", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return said.decode()


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.foreign("dig")
async def test_dig_is_told_who_answers_and_accepts_the_cookie(
    registry, make_instance, start_front, tmp_path, batched
):
    registry.put(make_instance(address="10.0.0.1"))
    secret = tmp_path / "secret"
    secret.write_text("00112233445566778899aabbccddeeff\n")
    secret.chmod(0o600)
    front = await start_front(
        batched=batched,
        workers=2,
        cookie_secret_file=str(secret),
        identity=DnsIdentity(b"node-1", b"node-1", b"callboard 9"),
        reverse_zones=("10.in-addr.arpa",),
    )
    name = "web.service.callboard.internal"
    said = await dig(front, name, "+cookie=2464c4abcf10c957", "+nsid")
    assert re.search(r"COOKIE: 2464c4abcf10c95701000000[0-9a-f]{24} \(good\)", said), said
    assert '("node-1")' in said
    [cookie] = re.findall(r"COOKIE: ([0-9a-f]+)", said)
    for _ in range(4):  # whichever worker it comes to: they share the secret
        assert f"COOKIE: {cookie} (good)" in await dig(front, name, f"+cookie={cookie}")
    said = await dig(front, name, "+tcp", "+keepalive")
    assert re.search("TCP.KEEPALIVE: 10.0 secs", said), said
    assert "cookie" not in (await dig(front, name, "+nocookie")).lower().partition("opt")[2]
    for text, asked in (("node-1", "id.server"), ("callboard 9", "version.bind")):
        assert f'"{text}"' in await dig(front, asked, "TXT", "CH", "+short")
    assert "a.web.instance.callboard.internal." in await dig(front, "-x", "10.0.0.1", "+short")
    serials = {
        await dig(front, "callboard.internal", "SOA", "+short", *more)
        for more in ((), ("+tcp",), ("+notcp",), ("+cookie",))
    }
    assert len(serials) == 1, serials


@pytest.mark.foreign("dig")
async def test_dig_without_a_question_gets_a_cookie(start_front):
    front = await start_front()
    said = await dig(front, "+header-only", "+cookie=2464c4abcf10c957")
    assert "status: NOERROR" in said
    assert "(good)" in said
