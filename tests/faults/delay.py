"""Delay without netem: connections between nodes are led through a proxy in the sender's
namespace, which passes every piece on after a while, in order."""

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from .ground import Ground

PORT = 9999
MARK = 7
"""Of the proxy's own connections, which must not be led into it again."""
_SO_ORIGINAL_DST = 80
_PIECE = 65536


@contextlib.contextmanager
def delayed(
    ground: Ground, hosts: Sequence[str], delay_s: float, jitter_s: float, seed: float
) -> Iterator[None]:
    """Connections that exist are reset, so that they are made again through the proxies."""
    proxies = []
    try:
        for host in hosts:
            command = [sys.executable, str(Path(__file__)), str(delay_s), str(jitter_s), str(seed)]
            command = [*ground.inside(host), *command]
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
            command[-4:-3] = ["-m", "faults.delay"]
            proxies.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment))
        for proxy in proxies:
            assert proxy.stdout is not None
            assert proxy.stdout.readline() == b"ready\n"
        for host in hosts:
            _lead_through(ground, host, [other for other in hosts if other != host])
        yield
    finally:
        ground.heal()
        for proxy in proxies:
            proxy.kill()
            proxy.communicate()


def _lead_through(ground: Ground, host: str, others: Sequence[str]) -> None:
    for other in others:
        to = ("-p", "tcp", "-d", ground.address(other))
        ground.rules(
            host,
            *("-t", "nat", "-A", "OUTPUT", *to, "-m", "mark", "!", "--mark", str(MARK)),
            *("-j", "REDIRECT", "--to-ports", str(PORT)),
        )
        source = ("-p", "tcp", "-s", ground.address(other), "-m", "conntrack", "--ctstate")
        # Not of the proxies: those begin after the rule has gone again.
        ground.rules(
            host,
            "-A",
            "INPUT",
            *source,
            "ESTABLISHED",
            "-j",
            "REJECT",
            "--reject-with",
            "tcp-reset",
        )
    time.sleep(0.3)
    ground.rules(host, "-F", "INPUT")


def serve(delay_s: float, jitter_s: float, seed: float) -> None:
    rng = random.Random(seed)
    with socket.create_server(("0.0.0.0", PORT), backlog=128) as listener:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_join, args=(near, delay_s, jitter_s, rng), daemon=True).start()


def _join(near: socket.socket, delay_s: float, jitter_s: float, rng: random.Random) -> None:
    target = near.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
    port, address = struct.unpack_from(">2xH4s", target)
    far = socket.socket()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
    try:
        far.connect((socket.inet_ntoa(address), port))
    except OSError:
        near.close()
        return
    for source, sink in ((near, far), (far, near)):
        pipe = _Pipe(source, sink, delay_s, jitter_s, rng)
        threading.Thread(target=pipe.take, daemon=True).start()
        threading.Thread(target=pipe.give, daemon=True).start()


class _Pipe:
    """One direction."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        delay_s: float,
        jitter_s: float,
        rng: random.Random,
    ) -> None:
        self._source, self._sink = source, sink
        self._delay_s, self._jitter_s, self._rng = delay_s, jitter_s, rng
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._ready = threading.Semaphore(0)

    def take(self) -> None:
        data = b"first"
        while data:
            try:
                data = self._source.recv(_PIECE)
            except OSError:
                data = b""
            due = time.monotonic() + self._delay_s + self._rng.random() * self._jitter_s
            self._pieces.append((due, data))
            self._ready.release()

    def give(self) -> None:
        while True:
            self._ready.acquire()
            due, data = self._pieces.popleft()
            time.sleep(max(0, due - time.monotonic()))
            try:
                if not data:
                    self._sink.shutdown(socket.SHUT_WR)
                    return
                self._sink.sendall(data)
            except OSError:
                self._source.close()
                return


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    serve(*map(float, sys.argv[1:]))
