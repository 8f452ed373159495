"""One window of wrk against one server."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .ports import HOST
from .processes import found
from .usage import Meter, Usage

_LUA = Path(__file__).with_name("lua")
_GRACE_S = 30.0


@dataclass(frozen=True)
class Window:
    requests: int
    errors: int
    seconds: float
    p50_ms: float
    p99_ms: float
    usage: Usage

    @property
    def disturbance(self) -> float:
        return self.usage.disturbance

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def run(
    port: int,
    script: str,
    connections: int,
    seconds: float,
    cpu_s: Callable[[], float],
    *arguments: str,
) -> Window:
    """`arguments` reach the script's `init`. Answers other than 2xx count as errors."""
    argv = [found("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    argv += ["--timeout", "10s", "-s", str(_LUA / f"{script}.lua"), f"http://{HOST}:{port}"]
    environment = {**os.environ, "LUA_PATH": f"{_LUA}/?.lua"}
    meter = Meter(cpu_s)
    ran = subprocess.run(
        [*argv, "--", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds + _GRACE_S,
        check=True,
    )
    usage = meter.usage()
    said = json.loads(ran.stdout.splitlines()[-1])
    return Window(
        requests=said["requests"] - said["refused"],
        errors=said["refused"] + said["broken"],
        seconds=said["us"] / 1e6,
        p50_ms=said["p50_us"] / 1e3,
        p99_ms=said["p99_us"] / 1e3,
        usage=usage,
    )
