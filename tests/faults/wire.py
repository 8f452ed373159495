"""One HTTP connection and one DNS question, without retries: each call has one honest outcome."""

import contextlib
import http.client
import json
import random
import select
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from .history import Outcome

NOTHING_HAPPENED = ("no_quorum", "too_stale", "shutting_down")
"""Codes of a 503 that promise so. Any other 5xx promises nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: none came. `said` is the code of an error, or what went wrong with the wire."""

    outcome: Outcome
    status: int = 0
    said: str = ""
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Connection:
    """Kept alive between calls, opened anew after anything went wrong."""

    def __init__(self, address: str, port: int, timeout_s: float) -> None:
        self._address, self._port, self._timeout_s = address, port, timeout_s
        self._client: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """`body`: bytes as they are, anything else as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            client = self._connected()
        except OSError as error:
            return Answer("fail", said=f"connect: {error}")
        try:
            client.request(method, path, data)
            response = client.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer("unknown", said=f"{type(error).__name__}: {error}")
        return _judged(response, text)

    def _connected(self) -> http.client.HTTPConnection:
        if self._client is None or self._client.sock is None or _is_over(self._client.sock):
            self.close()
            client = http.client.HTTPConnection(self._address, self._port, timeout=self._timeout_s)
            client.connect()
            self._client = client
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _is_over(idle: socket.socket) -> bool:
    """The node has closed it: a connection on which nothing was asked has nothing to read."""
    return bool(select.select([idle], [], [], 0)[0])


def _judged(response: http.client.HTTPResponse, text: bytes) -> Answer:
    body: Any = text
    with contextlib.suppress(ValueError):
        body = json.loads(text) if text else None
    headers = dict(response.headers.items())
    said = ""
    if isinstance(body, dict) and "error" in body:
        said = body["error"]["code"]
    if response.status < 300:
        return Answer("ok", response.status, said, body, headers)
    refused = response.status < 500 or said in NOTHING_HAPPENED
    return Answer("fail" if refused else "unknown", response.status, said, body, headers)


def ask_dns(address: str, port: int, name: str, timeout_s: float) -> tuple[int, int] | None:
    """The code and the number of answers for the A records of `name`; None for silence."""
    number = random.randrange(1 << 16)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack(">6H", number, 0, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(timeout_s)
        try:
            asker.connect((address, port))
            asker.send(question)
            answer = asker.recv(4096)
        except OSError:
            return None
    if len(answer) < 12 or answer[:2] != question[:2]:
        return None
    return answer[3] & 15, struct.unpack(">H", answer[6:8])[0]
