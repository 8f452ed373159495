"""Free loopback ports, and who holds a UDP port."""

import contextlib
import os
import socket
from pathlib import Path

HOST = "127.0.0.1"


def free_port() -> int:
    """A port free for UDP and TCP alike."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((HOST, 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind((HOST, port))
                return port


def holders_of_udp(port: int, pids: list[int]) -> list[int]:
    """Which of these processes have a socket open that is bound to this UDP port."""
    inodes = _udp_inodes(port)
    return [pid for pid in pids if inodes & _socket_inodes(pid)]


def _udp_inodes(port: int) -> set[str]:
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return {
        fields[9]
        for fields in map(str.split, lines)
        if int(fields[1].rpartition(":")[2], 16) == port
    }


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(link)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    return inodes
