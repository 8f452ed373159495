"""The fault matrix: every row by its name."""

import subprocess
import sys

from . import rows_clocks, rows_disks, rows_mixed, rows_network, rows_processes
from .cluster import Way

_PARTS = (rows_processes, rows_network, rows_disks, rows_clocks, rows_mixed)
ROWS = {row.name: row for part in _PARTS for row in part.ROWS}


def ways() -> list[Way]:
    """The ways in that this callboard has, the one to test first at the front."""
    command = [sys.executable, "-m", "callboard", "serve", "--help"]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    has_cluster = any(line.split()[:1] == ["--cluster"] for line in said.splitlines())
    return ["cluster", "etcd"] if has_cluster else ["etcd"]
