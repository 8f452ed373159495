"""Latencies of every query at a steady rate, as dnsperf saw them."""

import re
import subprocess
import tempfile
from pathlib import Path

from .dnsperf import CLIENTS, OUTSTANDING
from .ports import HOST
from .processes import found

_GRACE_S = 30.0
_ANSWERED = re.compile(rb"^> [A-Z]+ \S+ \S+ ([0-9.]+)$", re.MULTILINE)


def latencies_us(port: int, queries: Path, seconds: float, qps: float) -> list[float]:
    """Sorted. Every line costs the load some time, the same for whoever is measured."""
    argv = [found("dnsperf"), "-s", HOST, "-p", str(port), "-d", str(queries), "-v"]
    argv += ["-l", f"{seconds:g}", "-T1", f"-c{CLIENTS}", f"-q{OUTSTANDING}", "-t", "1"]
    argv += ["-Q", f"{qps:.0f}"]
    with tempfile.TemporaryFile() as output:
        subprocess.run(
            argv, stdout=output, stderr=subprocess.DEVNULL, timeout=seconds + _GRACE_S, check=True
        )
        output.seek(0)
        found_s = _ANSWERED.findall(output.read())
    if not found_s:
        raise ValueError("dnsperf -v reported no answer")
    return sorted(float(one) * 1e6 for one in found_s)


def percentile(values: list[float], share: float) -> float:
    """Of sorted values."""
    return values[min(int(len(values) * share), len(values) - 1)]
