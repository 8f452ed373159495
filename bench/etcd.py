"""One etcd member, with its v2 API on: what synced registration is measured beside."""

import urllib.error
import urllib.request
from pathlib import Path

from .ports import HOST, free_port
from .processes import Server, found


class Etcd:
    """Not started yet. Raises `Missing`."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True)
        self.port = free_port()
        client, peer = f"http://{HOST}:{self.port}", f"http://{HOST}:{free_port()}"
        options = {
            "name": "bench",
            "data-dir": home / "data",
            "enable-v2": "true",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"bench={peer}",
            "log-level": "error",
        }
        argv = [found("etcd"), *(f"--{key}={value}" for key, value in options.items())]
        self.server = Server(argv, home / "log")

    def is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}/health", timeout=1) as answer:
                return b"true" in answer.read()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
