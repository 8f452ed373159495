"""One window of wrk against one server."""

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
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
    together: bool = False,
) -> Window:
    """`arguments` reach the script's `init`. Answers other than 2xx count as errors."""
    return run_spread({port: arguments}, script, connections, seconds, cpu_s, together=together)


def run_spread(
    arguments: Mapping[int, Sequence[str]],
    script: str,
    connections: int,
    seconds: float,
    cpu_s: Callable[[], float],
    *,
    together: bool = False,
) -> Window:
    """One wrk to each port, with arguments of its own, at once: `connections` to each.

    p50 is the mean over the ports, p99 that of the worst. `together` is as in `Meter`.
    """
    environment = {**os.environ, "LUA_PATH": f"{_LUA}/?.lua"}
    meter = Meter(cpu_s, together=together)
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [*_argv(port, script, connections, seconds), "--", *of_port],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for port, of_port in arguments.items()
        ]
        said = [_said(process, seconds) for process in running]
    usage = meter.usage()
    return Window(
        requests=sum(one["requests"] - one["refused"] for one in said),
        errors=sum(one["refused"] + one["broken"] for one in said),
        seconds=max(one["us"] for one in said) / 1e6,
        p50_ms=sum(one["p50_us"] for one in said) / len(said) / 1e3,
        p99_ms=max(one["p99_us"] for one in said) / 1e3,
        usage=usage,
    )


def _argv(port: int, script: str, connections: int, seconds: float) -> list[str]:
    argv = [found("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    return [*argv, "--timeout", "10s", "-s", str(_LUA / f"{script}.lua"), f"http://{HOST}:{port}"]


def _said(process: subprocess.Popen[str], seconds: float) -> dict[str, int]:
    """The last line of its output, written by `lua/report.lua`."""
    try:
        out, errors = process.communicate(timeout=seconds + _GRACE_S)
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"wrk failed: {errors[-500:]}")
    said: dict[str, int] = json.loads(out.splitlines()[-1])
    return said
