"""DNS while the node that feeds it hangs or is gone."""

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import dns.exception
import dns.message
import dns.rcode
import pytest

import dns.query

WAIT_S = 20


def register(node, instance="web-1", address="10.0.0.5"):
    request = urllib.request.Request(
        f"{node.http}/v1/services/web/instances/{instance}",
        data=json.dumps({"address": address, "port": 80, "ttl": 0}).encode(),
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        assert answer.status in (200, 201)


def ask(port):
    asked = dns.message.make_query("web.service.callboard.internal.", "A")
    return dns.query.udp(asked, "127.0.0.1", port=port, timeout=5)


def addresses(port):
    return sorted(str(one) for rrset in ask(port).answer for one in rrset)


def wait_for(condition):
    deadline_s = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.02)
    return found


def test_a_hanging_node_is_answered_for_until_the_copy_is_too_old(start_node):
    node = start_node("--dns-max-stale", "5s")
    register(node)
    wait_for(lambda: addresses(node.dns_port) == ["10.0.0.5"])
    node.process.send_signal(signal.SIGSTOP)
    stopped_s = time.monotonic()
    try:
        while ask(node.dns_port).rcode() == dns.rcode.NOERROR:
            assert time.monotonic() < stopped_s + WAIT_S
            time.sleep(0.05)
        assert time.monotonic() > stopped_s + 3
        assert ask(node.dns_port).rcode() == dns.rcode.SERVFAIL
    finally:
        node.process.send_signal(signal.SIGCONT)
    wait_for(lambda: addresses(node.dns_port) == ["10.0.0.5"])
    assert node.stop() == 0


@pytest.fixture
def ports(free_port):
    """For HTTP and DNS."""
    return free_port(), free_port()


def workers(pid):
    """DNS workers whose parent is, or was, this node: the pids by command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")
            if b"callboard.dns.worker" in command and str(pid).encode() in command:
                found.append(int(process.name))
    return found


@pytest.fixture
def start_at(ports, start_node):
    """Starts nodes on the same ports again and again; ends what they leave behind."""
    pids = []

    def start(*flags):
        node = start_node(
            *("--http", f"127.0.0.1:{ports[0]}", "--dns", f"127.0.0.1:{ports[1]}"),
            *("--dns-outlive", "yes", *flags),
        )
        pids.append(node.process.pid)
        return node

    yield start
    for pid in pids:
        for worker in workers(pid):
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


class Asking(threading.Thread):
    """Asks without a pause, over UDP and TCP in turns; `failures` must stay empty."""

    def __init__(self, port):
        super().__init__()
        self.port = port
        self.asked = 0
        self.failures = []
        self._ended = threading.Event()

    def run(self):
        query = dns.message.make_query("web.service.callboard.internal.", "A")
        while not self._ended.is_set():
            over = dns.query.tcp if self.asked % 8 == 7 else dns.query.udp
            try:
                reply = over(query, "127.0.0.1", port=self.port, timeout=5)
                if reply.rcode() != dns.rcode.NOERROR or not reply.answer:
                    self.failures.append(reply.to_text())
            except (dns.exception.DNSException, OSError, EOFError) as error:
                self.failures.append(repr(error))
            self.asked += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join()


@pytest.mark.parametrize(("before", "after"), [("1", "1"), ("2", "1"), ("1", "2")])
def test_no_query_is_lost_when_a_node_is_killed_and_started_again(start_at, before, after):
    node = start_at("--dns-workers", before)
    register(node)
    wait_for(lambda: addresses(node.dns_port) == ["10.0.0.5"])
    with Asking(node.dns_port) as asking:
        old = workers(node.process.pid)
        assert len(old) == int(before)
        node.stop(signal.SIGKILL)
        reached = asking.asked
        wait_for(lambda: asking.asked > reached + 20)
        assert workers(node.process.pid) == old, "they answer on"
        successor = start_at("--dns-workers", after)
        wait_for(lambda: not workers(node.process.pid))
        register(successor, "web-2", "10.0.0.6")
        wait_for(lambda: addresses(successor.dns_port) == ["10.0.0.5", "10.0.0.6"])
    assert asking.failures == []
    assert successor.stop() == 0
    assert workers(successor.process.pid) == []


def test_a_node_that_is_stopped_leaves_nobody_behind(start_at):
    node = start_at()
    pid = node.process.pid
    assert len(workers(pid)) == 1
    assert node.stop() == 0
    assert workers(pid) == []


def test_a_node_that_fails_to_start_leaves_them_at_work(start_at, ports):
    node = start_at()
    register(node)
    wait_for(lambda: addresses(node.dns_port) == ["10.0.0.5"])
    (worker,) = workers(node.process.pid)
    node.stop(signal.SIGKILL)
    with (
        socket.create_server(("127.0.0.1", ports[0])),
        pytest.raises(AssertionError, match="HTTP cannot listen"),
    ):
        start_at()
    for _ in range(20):
        assert addresses(node.dns_port) == ["10.0.0.5"]
    assert workers(node.process.pid) == [worker]
    assert start_at().stop() == 0
    wait_for(lambda: not workers(node.process.pid))


def test_a_worker_without_a_node_leaves_when_it_is_told(start_at):
    node = start_at()
    register(node)
    wait_for(lambda: addresses(node.dns_port) == ["10.0.0.5"])
    (worker,) = workers(node.process.pid)
    node.stop(signal.SIGKILL)
    assert addresses(node.dns_port) == ["10.0.0.5"]
    os.kill(worker, signal.SIGTERM)
    wait_for(lambda: not workers(node.process.pid))


def test_a_worker_without_a_node_leaves_when_its_copy_is_too_old(start_at):
    node = start_at("--dns-max-stale", "5s")
    assert len(workers(node.process.pid)) == 1
    node.stop(signal.SIGKILL)
    wait_for(lambda: not workers(node.process.pid))


def test_workers_on_ports_of_nobodys_choosing_die_with_their_node(start_node):
    """Nobody could take over from them: there is no same address."""
    node = start_node("--dns-outlive", "yes")
    assert len(workers(node.process.pid)) == 1
    node.stop(signal.SIGKILL)
    wait_for(lambda: not workers(node.process.pid))
