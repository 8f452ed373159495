"""Registrations at a steady rate while something else is measured: `python -m bench.writer`.

A process of its own, so that its work and the measurement do not share an interpreter. It writes
until its standard input closes, which also happens when whoever started it dies.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from typing import Any

from .board import register, registration
from .names import NAMES_ASKED, service
from .ports import HOST

CONNECTIONS = 32
"""Enough that a synced write of several milliseconds does not hold the rate back."""
BATCH = 100
_OTHERS = 10_000


@dataclass
class Tally:
    registrations: int = 0
    errors: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)


def names(of_whom: str) -> Iterator[tuple[str, int, str]]:
    """Service, instance and a new address each time, so that every one is a change.

    Counted from the clock: one who began again at 0 would write what the window before wrote,
    and an identical registration costs a node next to nothing.
    """
    for n in count(time.time_ns() // 1_000_000):
        name = service(n % NAMES_ASKED) if of_whom == "asked" else f"other{n % _OTHERS:05d}"
        yield name, 0, f"10.{128 + (n >> 16 & 63)}.{n >> 8 & 255}.{n & 255}"


def requests(kind: str, of_whom: str) -> Iterator[bytes]:
    named = names(of_whom)
    while True:
        if kind == "put":
            name, instance, ipv4 = next(named)
            path = f"/v1/services/{name}/instances/{name}-{instance}"
            yield _http("PUT", path, registration(ipv4))
        elif kind == "etcd_put":
            name, instance, ipv4 = next(named)
            key = f"/services/{name}/{name}-{instance}"
            value = json.dumps(registration(ipv4))
            body = {"key": _base64(key), "value": _base64(value)}
            yield _http("POST", "/v3/kv/put", body)
        else:
            operations = [register(*next(named)) for _ in range(BATCH)]
            yield _http("POST", "/v1/batch", {"operations": operations})


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _http(method: str, path: str, body: dict[str, Any]) -> bytes:
    text = json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text


async def write(
    ports: list[int], kind: str, of_whom: str, rate: float, stop: asyncio.Event
) -> Tally:
    """`rate` is in registrations a second; the connections are spread over `ports`."""
    tally, made = Tally(), requests(kind, of_whom)
    each = BATCH if kind == "batch" else 1
    began = time.perf_counter()
    dues = (began + n * each / rate for n in count())

    async def connection(port: int) -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        with contextlib.closing(writer):
            while not stop.is_set():
                await asyncio.sleep(next(dues) - time.perf_counter())
                sent = time.perf_counter()
                writer.write(next(made))
                ok = await _answered(reader)
                tally.latencies_s.append(time.perf_counter() - sent)
                tally.registrations += each * ok
                tally.errors += not ok

    async with asyncio.TaskGroup() as group:
        for port in islice(cycle(ports), CONNECTIONS):
            group.create_task(connection(port))
    tally.seconds = time.perf_counter() - began
    return tally


async def _answered(reader: asyncio.StreamReader) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    await reader.readexactly(length)
    return head.split(b" ", 2)[1] in (b"200", b"201")


async def main(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    tally = await write(arguments.ports, arguments.kind, arguments.names, arguments.rate, stop)
    latencies = sorted(tally.latencies_s) or [0.0]
    said = {
        "rate": tally.registrations / tally.seconds,
        "errors": tally.errors,
        "p50_ms": latencies[len(latencies) // 2] * 1e3,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1e3,
    }
    print(json.dumps(said))


@contextlib.contextmanager
def writing(
    ports: Sequence[int], kind: str, of_whom: str, rate: float
) -> Iterator[dict[str, float]]:
    """Writes as long as the block runs; the dict is filled at its end."""
    argv = [sys.executable, "-m", "bench.writer", kind, of_whom, str(rate), *map(str, ports)]
    said: dict[str, float] = {}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield said
            said.update(json.loads(process.communicate(timeout=30)[0]))
        finally:
            process.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["put", "batch", "etcd_put"])
    parser.add_argument("names", choices=["asked", "others"])
    parser.add_argument("rate", type=float)
    parser.add_argument("ports", type=int, nargs="+")
    asyncio.run(main(parser.parse_args()))
