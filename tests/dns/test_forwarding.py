"""Names outside the zones, asked of a real resolver's stand-in: Knot with a small zone."""

import asyncio
import socket

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

KNOT = """
server:
    rundir: "{dir}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{dir}"
zone:
  - domain: example.com.
    file: "{dir}/zone"
    journal-content: none
"""
RECORDS = """
@ 60 SOA ns host 1 3600 600 86400 30
@ 60 NS ns
ns 60 A 192.0.2.53
www 60 A 192.0.2.1
alias 60 CNAME www
"""
PATIENCE_S = 30


@pytest.fixture
def knot(tmp_path, run_process, free_port):
    port = free_port()
    many = "".join(f"many 60 A 192.0.2.{n}\n" for n in range(200))
    (tmp_path / "zone").write_text(RECORDS + many)
    (tmp_path / "knot.conf").write_text(KNOT.format(dir=tmp_path, port=port))
    log = (tmp_path / "log").open("wb")
    with log, run_process("knotd", "-c", tmp_path / "knot.conf", stdout=log, stderr=log) as process:
        yield process, ("127.0.0.1", port)


async def ask(front, name, rdtype="A", *, tcp=False, flags=dns.flags.RD, **options):
    host, port = front.address
    asked = dns.message.make_query(name, rdtype, flags=flags, **options)
    over = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await over(asked, host, timeout=PATIENCE_S, port=port)


@pytest.fixture
async def front(start_front, registry, make_instance, knot):
    registry.put(make_instance())
    started = await start_front(forward=knot[1])
    async with asyncio.timeout(PATIENCE_S):
        while (await ask(started, "ns.example.com")).rcode() != dns.rcode.NOERROR:
            assert knot[0].poll() is None, "knotd has ended"
            await asyncio.sleep(0.02)
    return started


@pytest.mark.foreign("knotd")
async def test_names_outside_the_zones_are_asked_upstream(front, knot, shape_of):
    reply = await ask(front, "wWw.example.com", use_edns=0)
    assert shape_of(reply) == "NOERROR RD RA 1/0/0"
    assert str(reply.question[0].name) == "wWw.example.com."
    assert len((await ask(front, "alias.example.com")).answer) == 2
    assert shape_of(await ask(front, "nope.example.com")) == "NXDOMAIN RD RA 0/1/0"
    assert shape_of(await ask(front, "www.example.com", "TXT")) == "NOERROR RD RA 0/1/0"
    assert shape_of(await ask(front, "example.org")) == "REFUSED RD RA 0/0/0"


@pytest.mark.foreign("knotd")
async def test_ours_are_never_asked_upstream_and_rd_is_needed(front, shape_of):
    assert shape_of(await ask(front, "web.service.callboard.internal")) == "NOERROR AA RD RA 1/0/0"
    nope = await ask(front, "nope.service.callboard.internal")
    assert shape_of(nope) == "NXDOMAIN AA RD RA 0/1/0"
    assert shape_of(await ask(front, "www.example.com", flags=0)) == "REFUSED 0/0/0"


@pytest.mark.foreign("knotd")
async def test_large_answers_come_over_tcp(front, shape_of):
    assert shape_of(await ask(front, "many.example.com")) == "NOERROR TC RD RA 0/0/0"
    assert shape_of(await ask(front, "many.example.com", tcp=True)) == "NOERROR RD RA 200/0/0"


@pytest.mark.foreign("knotd")
async def test_answers_are_remembered_and_silence_is_servfail(front, knot, shape_of):
    process, _ = knot
    await ask(front, "www.example.com")
    await ask(front, "nope.example.com")
    process.terminate()
    process.wait(10)
    reply = await ask(front, "WWW.example.com")
    assert shape_of(reply) == "NOERROR RD RA 1/0/0"
    assert str(reply.answer[0].name) == "WWW.example.com."
    assert shape_of(await ask(front, "nope.example.com")) == "NXDOMAIN RD RA 0/1/0"
    assert shape_of(await ask(front, "other.example.com")) == "SERVFAIL RD RA 0/0/0"


async def test_a_mute_upstream_is_servfail_in_bounded_time(start_front, shape_of, monkeypatch):
    """Two tries, then SERVFAIL; those who ask the same thing meanwhile wait for the same tries."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        front = await start_front(forward=mute.getsockname())
        replies = await asyncio.gather(*(ask(front, "www.example.com") for _ in range(5)))
        assert [shape_of(reply) for reply in replies] == ["SERVFAIL RD RA 0/0/0"] * 5
        mute.setblocking(False)
        tries = [mute.recvfrom(512) for _ in range(2)]
        with pytest.raises(BlockingIOError):
            mute.recvfrom(512)
    (first, from_first), (second, from_second) = tries
    assert first[:2] != second[:2] or from_first != from_second


async def test_forged_replies_are_ignored(start_front, shape_of):
    """Another id, another question, another sender: only the real one counts."""
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger,
    ):
        upstream.bind(("127.0.0.1", 0))
        upstream.setblocking(False)
        front = await start_front(forward=upstream.getsockname())
        asking = asyncio.create_task(ask(front, "www.example.com"))
        wire, client = await loop.sock_recvfrom(upstream, 512)
        reply = dns.message.make_response(dns.message.from_wire(wire))
        right = reply.to_wire()
        reply.set_rcode(dns.rcode.NXDOMAIN)
        forged = reply.to_wire()
        forger.sendto(forged, client)
        upstream.sendto(bytes((forged[0] ^ 1,)) + forged[1:], client)
        upstream.sendto(forged[:13] + b"x" + forged[14:], client)
        upstream.sendto(right, client)
        assert shape_of(await asking) == "NOERROR RD RA 0/0/0"
