"""A callboard node under test, and the registrations it is filled with."""

import http.client
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .names import RECORDS_PER_NAME, address, service
from .ports import HOST, free_port, holders_of_udp
from .processes import Server, rss_bytes

TTL_S = 7200
"""Longer than any run: nothing may expire while it is measured."""
FILL_BATCH = 1000
"""The most operations `/v1/batch` takes."""
_REQUEST_S_MAX = 60.0


class Board:
    """`callboard serve` on free ports. Use it as a context manager; may be started again."""

    def __init__(self, work_dir: Path, name: str, *flags: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=work_dir))
        self.data_dir = self.home / "data"
        self.http_port, self.dns_port = free_port(), free_port()
        self.server = Server(
            [
                *(str(Path(sys.executable).with_name("callboard")), "serve"),
                *("--data-dir", str(self.data_dir)),
                *("--http", f"{HOST}:{self.http_port}"),
                *("--dns", f"{HOST}:{self.dns_port}"),
                *("--dns-outlive", "no"),  # nothing is left of a node that a benchmark kills
                *("--name", name),
                *flags,
            ],
            self.home / "log",
        )
        self.start_s = 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.stop()

    def start(self) -> None:
        """Until it says that it answers; `start_s` is how long that took. Raises `DidNotStart`."""
        began = time.perf_counter()
        self.launch()
        self.wait_ready()
        self.start_s = time.perf_counter() - began

    def launch(self) -> None:
        """Without waiting: a cluster forms when all of its nodes have been launched."""
        self.server.__enter__()

    def wait_ready(self) -> None:
        try:
            self.server.wait_until(self._says_ready)
        except BaseException:
            self.server.stop()
            raise

    def _says_ready(self) -> bool:
        said = {line.split()[0] for line in self.server.log.read_text().splitlines() if line}
        return {"http", "dns"} <= said

    def dns_workers(self) -> list[int]:
        children = [pid for pid in self.server.pids() if pid != self.server.pid]
        return holders_of_udp(self.dns_port, children)

    def registry_rss_bytes(self) -> int:
        return rss_bytes(self.server.pid)

    def worker_rss_bytes(self) -> int:
        return sum(map(rss_bytes, self.dns_workers()))

    def data_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.data_dir.rglob("*") if path.is_file())

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(HOST, self.http_port, timeout=_REQUEST_S_MAX)

    def status(self) -> dict[str, Any]:
        client = self.client()
        try:
            status: dict[str, Any] = call(client, "GET", "/v1/status")
        finally:
            client.close()
        return status

    def fill(self, operations: Iterator[dict[str, Any]]) -> None:
        """Sends the next batch's making into the time the node needs for the one before."""
        client = self.client()
        body = _next_batch(operations)
        while body:
            client.request("POST", "/v1/batch", body, {"Content-Type": "application/json"})
            body = _next_batch(operations)
            answer = client.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"batch: {answer.status} {text[:300]!r}")
        client.close()


def call(
    client: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any] | None = None
) -> Any:
    sent = None if body is None else json.dumps(body)
    client.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
    answer = client.getresponse()
    text = answer.read()
    if answer.status not in (200, 201):
        raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
    return json.loads(text)


def _next_batch(operations: Iterator[dict[str, Any]]) -> str:
    chunk = list(islice(operations, FILL_BATCH))
    return json.dumps({"operations": chunk}) if chunk else ""


def registration(ipv4: str) -> dict[str, Any]:
    """The body of a registration: the size of a real one, and the same for every server."""
    return {
        "address": ipv4,
        "port": 8080,
        "tags": ["v2"],
        "meta": {"zone": "a"},
        "ttl": TTL_S,
    }


def services(first: int, count: int, of: int = RECORDS_PER_NAME) -> Iterator[dict[str, Any]]:
    """Register operations for `count` services of `of` instances each."""
    for number in range(first, first + count):
        for instance in range(of):
            yield register(service(number), instance, address(number, instance))


def register(name: str, instance: int, ipv4: str) -> dict[str, Any]:
    return {
        "op": "register",
        "service": name,
        "id": f"{name}-{instance}",
        **registration(ipv4),
    }
