"""One window of dnsperf against one server, with the CPU time the server spent on it."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .ports import HOST
from .processes import found
from .usage import Meter, Usage

CLIENTS = 4
OUTSTANDING = 60
"""Few enough that no server's socket buffer overflows: a lost query stalls dnsperf for seconds."""
_GRACE_S = 30.0


@dataclass(frozen=True)
class Window:
    completed: int
    lost: int
    seconds: float
    rcodes: dict[str, int]
    latency_us: float
    response_bytes: int
    cpu_s: float
    usage: Usage

    @property
    def disturbance(self) -> float:
        return self.usage.disturbance

    @property
    def qps(self) -> float:
        return self.completed / self.seconds

    @property
    def cpu_us_per_query(self) -> float:
        return self.cpu_s / max(self.completed, 1) * 1e6


def run(
    port: int,
    queries: Path,
    seconds: float,
    cpu_s: Callable[[], float],
    *options: str,
    server: Callable[[], float] | None = None,
) -> Window:
    """`cpu_s` reads the CPU clock of what answers, `server` that of all that belongs to it."""
    argv = [found("dnsperf"), "-s", HOST, "-p", str(port), "-d", str(queries)]
    argv += ["-l", f"{seconds:g}", "-T1", f"-c{CLIENTS}", f"-q{OUTSTANDING}", "-t", "1", *options]
    meter = Meter(server or cpu_s)
    began_cpu_s = cpu_s()
    text = subprocess.run(
        argv, capture_output=True, text=True, timeout=seconds + _GRACE_S, check=True
    ).stdout
    spent_cpu_s = cpu_s() - began_cpu_s
    usage = meter.usage()
    return Window(
        completed=int(_one(r"Queries completed:\s+(\d+)", text)),
        lost=int(_one(r"Queries lost:\s+(\d+)", text)),
        seconds=float(_one(r"Run time \(s\):\s+([\d.]+)", text)),
        rcodes={code: int(count) for code, count in re.findall(r"([A-Z]{4,9}) (\d+) \(", text)},
        latency_us=float(_one(r"Average Latency \(s\):\s+([\d.]+)", text)) * 1e6,
        response_bytes=int(_one(r"Average packet size:.* response (\d+)", text)),
        cpu_s=spent_cpu_s,
        usage=usage,
    )


def _one(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"dnsperf said no {pattern!r}: {text[-500:]}")
    return match[1]
