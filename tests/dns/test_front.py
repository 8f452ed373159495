"""The whole front: worker processes on loopback, asked by dig, kdig and dnspython."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from functools import partial

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
from callboard.dns import CannotListen, DnsConfig, DnsFront, InvalidDnsConfig, WorkerFailed, feeder
from callboard.dns import front as front_module
from callboard.registry import InstanceName, Registry
from callboard.registry.engine import SqliteEngine

PATIENCE_S = 10
ASKERS, WAITING_EACH = 6, 100
"""Packets: in all more than a worker takes before it looks at its feed, and no more of one asker
than replies find room at it."""


async def ask(front, name, rdtype="A", **options):
    host, port = front.address
    asked = dns.message.make_query(f"{name}.callboard.internal.", rdtype, **options)
    return await dns.asyncquery.udp(asked, host, timeout=PATIENCE_S, port=port)


async def addresses(front, name):
    return sorted(str(rdata) for rrset in (await ask(front, name)).answer for rdata in rrset)


async def eventually(check):
    """Wait until the awaitable `check()` is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not await check():  # noqa: ASYNC110  # another process changes it
            await asyncio.sleep(0.005)


@pytest.fixture
def web(registry, make_instance):
    for n in range(3):
        registry.put(make_instance(id=f"i{n}", address=f"10.0.0.{n}"))
    return registry


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("workers", [1, 3])
async def test_what_is_registered_is_answered_and_follows(
    web, start_front, make_instance, batched, workers
):
    front = await start_front(batched=batched, workers=workers)
    assert await addresses(front, "web.service") == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]
    web.put(make_instance(id="i9", address="10.0.0.9"))
    web.drop(InstanceName("default", "web", "i1"))
    for _ in range(2 * workers):  # each from a port of its own, hence perhaps another worker

        async def follows():
            return await addresses(front, "web.service") == ["10.0.0.0", "10.0.0.2", "10.0.0.9"]

        await eventually(follows)


async def run(*command):
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.foreign("dig")
@pytest.mark.parametrize("options", [(), ("+tcp",), ("+bufsize=600",), ("+noedns",), ("+dnssec",)])
async def test_dig_reads_every_kind_of_answer(web, start_front, options):
    front = await start_front()
    host, port = front.address
    dig = ("dig", f"@{host}", "-p", str(port), "+tries=1", "+norecurse", *options)
    for name, rdtype, expected in (
        ("web.service", "A", "10.0.0.1"),
        ("web.service", "SRV", "1 1 80 0a000001.addr.callboard.internal."),
        ("nope.service", "A", "status: NXDOMAIN"),
        ("service", "A", "status: NOERROR"),
        ("", "SOA", "hostmaster.callboard.internal."),
    ):
        output = await run(*dig, f"{name}.callboard.internal.".removeprefix("."), rdtype)
        assert expected in output
        assert "WARNING" not in output
        assert "Warning" not in output


@pytest.mark.foreign("kdig")
async def test_kdig_agrees_over_udp_and_tcp(web, start_front):
    front = await start_front()
    host, port = front.address
    for options in ((), ("+tcp",), ("+edns=0", "+bufsize=1232"), ("+keepopen", "+tcp")):
        output = await run(
            "kdig", f"@{host}", "-p", str(port), *options,
            "web.service.callboard.internal", "A", "web.service.callboard.internal", "SRV",
        )  # fmt: skip
        assert output.count("status: NOERROR") == 2
        assert "WARNING" not in output


async def test_a_killed_worker_comes_back_and_loses_no_waiting_packet(web, start_front):
    front = await start_front()
    (before,) = front.stats().workers
    os.kill(before.pid, signal.SIGSTOP)
    asking = asyncio.create_task(addresses(front, "web.service"))
    await asyncio.sleep(0)
    os.kill(before.pid, signal.SIGKILL)
    assert await asking == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]

    async def ready_again():
        return front.stats().workers[0].ready

    await eventually(ready_again)
    (after,) = front.stats().workers
    assert (after.restarts, after.pid == before.pid) == (1, False)


async def test_counts_outlive_the_worker_that_made_them(web, start_front):
    front = await start_front()
    await ask(front, "web.service")

    async def counted():
        return front.stats().queries.total() == 1

    await eventually(counted)
    os.kill(front.stats().workers[0].pid, signal.SIGKILL)

    async def restarted():
        worker = front.stats().workers[0]
        return worker.restarts == 1 and worker.ready

    await eventually(restarted)
    await ask(front, "web.service")

    async def counted_again():
        return front.stats().queries.total() == 2

    await eventually(counted_again)
    (worker,) = front.stats().workers
    assert (worker.services, worker.instances, worker.index) == (1, 3, web.index)
    assert worker.rss_bytes > 1_000_000


async def test_a_successor_that_cannot_be_started_is_tried_again(web, start_front, monkeypatch):
    front = await start_front()
    spawn, failures = front_module.subprocess.Popen, iter([BlockingIOError(11, "no process")] * 2)

    def popen(*arguments, **options):
        if (failure := next(failures, None)) is not None:
            raise failure
        return spawn(*arguments, **options)

    monkeypatch.setattr(front_module.subprocess, "Popen", popen)
    os.kill(front.stats().workers[0].pid, signal.SIGKILL)

    async def restarted():
        worker = front.stats().workers[0]
        return worker.restarts == 3 and worker.ready

    await eventually(restarted)
    assert await addresses(front, "web.service")


async def test_a_worker_that_a_defect_leaves_unfed_gets_a_successor(
    web, start_front, make_instance, monkeypatch, caplog
):
    send_events, defects = feeder._send_events, iter([LookupError("a defect")])

    async def send(*arguments):
        if (defect := next(defects, None)) is not None:
            raise defect
        await send_events(*arguments)

    monkeypatch.setattr(feeder, "_send_events", send)
    front = await start_front()
    web.put(make_instance(id="i9", address="10.0.0.9"))

    async def restarted():
        worker = front.stats().workers[0]
        return worker.restarts == 1 and worker.ready

    await eventually(restarted)
    assert "10.0.0.9" in await addresses(front, "web.service")
    assert "a defect" in caplog.text


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_closing_answers_what_waits_and_refuses_what_comes(
    web, start_front, question, batched, host
):
    front = await start_front(batched=batched, host=host)
    at = "127.0.0.1", front.address[1]
    (worker,) = front.stats().workers
    os.kill(worker.pid, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        new = partial(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        askers = [stack.enter_context(new()) for _ in range(ASKERS)]
        for asker in askers:
            asker.connect(at)
            asker.settimeout(PATIENCE_S)
            for _ in range(WAITING_EACH):
                asker.send(question("web.service"))
        closing = asyncio.create_task(front.close())

        async def refuses():
            with new() as late:
                late.connect(at)
                late.setblocking(False)
                late.send(question("web.service"))
                await asyncio.sleep(0.005)
                try:
                    late.recv(512)
                except BlockingIOError:
                    return False
                except ConnectionRefusedError:
                    return True
                raise AssertionError("a stopped worker has answered")

        await eventually(refuses)
        assert not closing.done()
        os.kill(worker.pid, signal.SIGCONT)
        await closing
        replies = [asker.recv(512) for asker in askers for _ in range(WAITING_EACH)]
    assert all(reply[7] == 3 for reply in replies), "three addresses in each"


async def test_closing_waits_for_a_forwarded_question(registry, start_front):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.bind(("127.0.0.1", 0))
        upstream.setblocking(False)
        front = await start_front(forward=upstream.getsockname())
        host, port = front.address
        asked = dns.message.make_query("elsewhere.example.", "A")
        asking = asyncio.create_task(dns.asyncquery.udp(asked, host, timeout=PATIENCE_S, port=port))
        loop = asyncio.get_running_loop()
        packet, asker = await loop.sock_recvfrom(upstream, 512)
        closing = asyncio.create_task(front.close())
        done, _ = await asyncio.wait([closing], timeout=0.1)
        assert not done
        reply = dns.message.make_response(dns.message.from_wire(packet))
        await loop.sock_sendto(upstream, reply.to_wire(), asker)
        assert (await asking).rcode() == dns.rcode.NOERROR
        await closing


async def test_closing_leaves_no_process_and_no_socket(web, start_front):
    front = await start_front(workers=2)
    pids = [worker.pid for worker in front.stats().workers]
    host, port = front.address
    await front.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind((host, port))


async def test_workers_ignore_ctrl_c(web, start_front):
    front = await start_front()
    (worker,) = front.stats().workers
    os.kill(worker.pid, signal.SIGINT)
    assert await addresses(front, "web.service")
    assert front.stats().workers[0].pid == worker.pid


@pytest.mark.parametrize("kind", ["udp", "shared udp", "tcp"])
async def test_a_taken_port_is_one_clear_line(registry, kind):
    with socket.socket(
        socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    ) as taken:
        if kind == "shared udp":
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        if kind == "tcp":
            taken.listen()
        port = taken.getsockname()[1]
        front = DnsFront(DnsConfig(port=port, workers=2), registry)
        with pytest.raises(CannotListen) as failed:
            await front.start()
        await front.close()
    text = f"DNS cannot listen on 127.0.0.1:{port}: another program is using that port"
    assert str(failed.value) == text


async def test_an_address_of_another_host_is_one_clear_line(registry):
    with pytest.raises(CannotListen, match=r"DNS cannot listen on 192\.0\.2\.1:0: Cannot assign"):
        await DnsFront(DnsConfig(host="192.0.2.1", port=0), registry).start()


async def test_a_worker_that_cannot_start_fails_the_start(registry, monkeypatch):
    monkeypatch.setattr("callboard.dns.front.sys.executable", "/bin/false")
    front = DnsFront(DnsConfig(port=0), registry)
    with pytest.raises(WorkerFailed, match="ended with code 1 before it was ready"):
        await front.start()


@pytest.mark.parametrize(
    "options",
    [
        {"zones": ()},
        {"zones": ("a..b",)},
        {"zones": ("x" * 64,)},
        {"zones": (".".join(["x" * 60] * 4),)},
        {"ttl_s": -1},
        {"ttl_s": 2**31},
        {"workers": 0},
    ],
)
def test_what_cannot_be_served_is_refused(options):
    with pytest.raises(InvalidDnsConfig):
        DnsConfig(**options)


async def test_ns_is_the_listening_address_or_what_it_is_told_to_be(web, start_front):
    front = await start_front(host="::1")
    (rrset,) = (await ask(front, "ns", "AAAA")).answer
    assert str(rrset[0]) == "::1"
    front = await start_front(ns_addresses=("192.0.2.1", "2001:db8::1"))
    assert await addresses(front, "ns") == ["192.0.2.1"]


async def test_a_wildcard_listener_gives_no_wildcard_as_its_address(web, start_front):
    front = await start_front(host="0.0.0.0")
    host, port = "127.0.0.1", front.address[1]
    asked = dns.message.make_query("ns.callboard.internal.", "ANY")
    reply = await dns.asyncquery.udp(asked, host, timeout=PATIENCE_S, port=port)
    assert all(str(rdata) != "0.0.0.0" for rrset in reply.answer for rdata in rrset)
    assert reply.answer


async def test_the_real_registry_feeds_it(tmp_path, make_instance):
    """From a registration over the engine to the answer, and away again."""
    engine = await SqliteEngine.open(tmp_path, node="a")
    registry = Registry(engine, node="a")
    await registry.start()
    await registry.register(make_instance("Web", "A-1", "10.0.0.1"))
    front = DnsFront(DnsConfig(port=0), registry)
    try:
        await front.start()
        assert await addresses(front, "web.service") == ["10.0.0.1"]
        await registry.register(make_instance("web", "a-2", "10.0.0.2"))

        async def both():
            return await addresses(front, "WEB.service") == ["10.0.0.1", "10.0.0.2"]

        await eventually(both)
        await registry.deregister(InstanceName("default", "web", "a-1"))
        await registry.deregister(InstanceName("default", "web", "a-2"))

        async def gone():
            return (await ask(front, "web.service")).rcode() == dns.rcode.NXDOMAIN

        await eventually(gone)
        (soa,) = (await ask(front, "web.service")).authority
        assert soa[0].serial == registry.index
    finally:
        await front.close()
        await registry.close()
        await engine.close()


async def test_a_worker_does_not_carry_the_registry():
    """What a worker imports is most of what a small one weighs."""
    program = (
        "import sys, callboard.dns.worker;"
        "print([m for m in ('asyncio', 'msgspec', 'callboard.registry') if m in sys.modules])"
    )
    assert await run(sys.executable, "-P", "-c", program) == "[]\n"


async def test_no_worker_is_left_behind_when_its_parent_is_killed():
    program = """
import os, socket, subprocess, sys, time
feed, theirs = socket.socketpair()
udp = socket.socket(type=socket.SOCK_DGRAM)
tcp = socket.socket()
fds = [one.fileno() for one in (theirs, udp, tcp)]
command = [sys.executable, "-P", "-m", "callboard.dns.worker", *map(str, fds), str(os.getpid())]
print(subprocess.Popen(command, pass_fds=fds).pid, flush=True)
time.sleep(60)
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", program, stdout=asyncio.subprocess.PIPE
    )
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()

    async def gone():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    await eventually(gone)
