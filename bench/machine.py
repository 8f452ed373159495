"""What a run was made on: without it a figure means nothing."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from .processes import LOAD_CORE, SERVER_CORE, Missing, found

_VERSIONS = {
    "dnsperf": ["dnsperf", "-h"],
    "wrk": ["wrk", "-v"],
    "Knot": ["knotd", "-V"],
    "NSD": ["nsd", "-v"],
    "BIND": ["named", "-v"],
    "PowerDNS": ["pdns_server", "--version"],
    "etcd": ["etcd", "--version"],
}
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def described(work_dir: Path) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "cpu": cpu_model(),
        "cores": f"{os.cpu_count()}: servers on {SERVER_CORE}, load on {LOAD_CORE}",
        "memory": memory(),
        "kernel": platform.release(),
        "disk": filesystem(work_dir),
        "python": platform.python_version(),
        **{program: version(argv) for program, argv in _VERSIONS.items()},
    }


def commit() -> str:
    """Which code was measured; a tree with changes says so."""
    git = ["git", "-C", str(Path(__file__).parent)]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    changes = subprocess.run(
        [*git, "status", "--porcelain", "--", ":/", ":!/bench/results"],
        capture_output=True,
        text=True,
    )
    if head.returncode:
        return "not a git checkout"
    return head.stdout.strip() + (" with changes" if changes.stdout.strip() else "")


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in pairs}
    if not {"model name", "cpu family", "model"} <= fields.keys():
        return platform.machine()
    return f"{fields['model name']} (family {fields['cpu family']} model {fields['model']})"


def memory() -> str:
    kib = int(Path("/proc/meminfo").read_text().split()[1])
    return f"{kib / 1024**2:.0f} GiB"


def filesystem(path: Path) -> str:
    """Kind of file system below `path`: a sync to a tmpfs is no sync."""
    resolved = path.resolve()
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    below = [mount for mount in mounts if resolved.is_relative_to(mount[1])]
    return max(below, key=lambda mount: len(mount[1]))[2]


def version(argv: list[str]) -> str:
    try:
        argv = [found(argv[0]), *argv[1:]]
    except Missing:
        return "missing"
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    match = _VERSION.search(ran.stdout + ran.stderr)
    return match[0] if match else "unknown"
