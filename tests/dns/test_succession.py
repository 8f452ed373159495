"""Workers without a node: how long they stay, and who may have their sockets."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress

import pytest
from callboard.dns.counters import Counters
from callboard.dns.freshness import Freshness
from callboard.dns.loop import Loop
from callboard.dns.outliving import ALONE_S_MAX, UNASKED_S_MAX, Outliving
from callboard.dns.succession import Offer, inherit, turn_away

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")


class Time:
    """A loop whose timers run when they are told to, and the clock that they see."""

    def __init__(self):
        self.now_s = 1000.0
        self.stopped = False
        self.later = None

    def __call__(self):
        return self.now_s

    def call_later(self, _delay_s, callback):
        self.later = callback

    def stop(self):
        self.stopped = True

    def passes(self, seconds):
        self.now_s += seconds
        self.later()
        return not self.stopped


def an_outliving(max_stale_s):
    timed, counters = Time(), Counters()
    Outliving(timed, Freshness(max_stale_s, timed.now_s), counters, timed)
    return timed, counters


def test_a_worker_that_nobody_asks_leaves():
    timed, counters = an_outliving(float("inf"))
    assert timed.passes(UNASKED_S_MAX - 1)
    counters.udp_fast[1] += 1
    assert timed.passes(UNASKED_S_MAX)
    assert not timed.passes(UNASKED_S_MAX + 1)


@pytest.mark.parametrize(("max_stale_s", "stays_s"), [(3600, 3600), (float("inf"), ALONE_S_MAX)])
def test_a_worker_that_is_asked_leaves_when_its_time_is_over(max_stale_s, stays_s):
    timed, counters = an_outliving(max_stale_s)
    for _ in range(int(stays_s) // 100):
        counters.tcp_slow[1] += 1
        assert timed.passes(100)
    counters.tcp_slow[1] += 1
    assert not timed.passes(1)


@pytest.fixture
def offered():
    """Sockets on offer in a thread, and what the offering worker was told."""
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(tcp.getsockname())
        loop, told = Loop(), []
        offer = Offer(loop, 3, (udp, tcp), told.append)

        def tick():
            loop.call_later(0.01, tick)

        tick()
        thread = threading.Thread(target=loop.run)
        thread.start()
        yield udp.getsockname(), told
        loop.stop()
        thread.join()
        offer.close()
        loop.close()


def eventually(condition):
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def again(get, *arguments):
    """What `get` gives, once it gives anything."""
    given = []
    eventually(lambda: given.append(get(*arguments)) or given[-1] is not None)
    return given[-1]


@pytest.mark.parametrize("kept", [0, 1])
def test_an_heir_gets_the_sockets_and_dismisses_the_worker(offered, kept):
    address, told = offered
    given_up = inherit(*address)
    given_up.close()  # as a node that does not get to start
    found = again(inherit, *address)  # once the worker has noticed
    assert [one.getsockname() for one in (*found.udp, *found.tcp)] == [address] * 2
    assert told == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"waiting", address)
        eventually(lambda: found.udp[0].recv(100) == b"waiting")
    found.dismiss(kept)
    eventually(lambda: told == [bool(kept)])
    found.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_socket_that_is_turned_away_keeps_what_waits_and_gets_no_more(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        leaving, staying = (
            stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(2)
        )
        for one in (leaving, staying):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.setblocking(False)
        leaving.bind((host, 0))
        staying.bind(leaving.getsockname()[:2])
        address = ("::1" if ":" in host else "127.0.0.1", leaving.getsockname()[1])

        def send_from_many_ports():
            for _ in range(64):
                client = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                client.sendto(b"query", address)

        send_from_many_ports()
        turn_away(leaving)
        waited = count_waiting(leaving)
        assert waited > 0
        assert waited + count_waiting(staying) == 64
        send_from_many_ports()
        assert count_waiting(leaving) == 0
        assert count_waiting(staying) == 64


def count_waiting(udp):
    count = 0
    with suppress(BlockingIOError):
        while udp.recv(100):
            count += 1
    return count


def test_nobody_offers_anything_elsewhere(offered):
    (host, port), _ = offered
    assert inherit(host, port + 1) is None


AS_HEIR = "import os, sys; from callboard.dns.succession import inherit; os.setuid(65534)"
AS_HEIR += "; sys.exit(inherit(sys.argv[1], int(sys.argv[2])) is not None)"
AS_IMPOSTOR = """
import os, socket
from callboard.dns import succession
os.setuid(65534)
with (
    socket.create_server(("127.0.0.1", 0)) as tcp,
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    socket.socket(socket.AF_UNIX) as listener,
):
    listener.bind(succession._name(*tcp.getsockname(), 0))
    listener.listen()
    print(tcp.getsockname()[1], flush=True)
    link, _ = listener.accept()
    try:
        socket.send_fds(link, [b"S"], [udp.fileno(), tcp.fileno()])
    except BrokenPipeError:
        pass
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_other_users_neither_get_nor_give_sockets(offered):
    (host, port), told = offered
    heir = subprocess.run([sys.executable, "-c", AS_HEIR, host, str(port)], timeout=20)
    assert heir.returncode == 0
    assert told == []
    with subprocess.Popen([sys.executable, "-c", AS_IMPOSTOR], stdout=subprocess.PIPE) as impostor:
        assert inherit("127.0.0.1", int(impostor.stdout.readline())) is None
        assert impostor.wait(20) == 0
