"""How many files and sockets a node may have open: as many as the system lets it."""

import resource
from contextlib import suppress
from typing import Final

KEPT: Final = 256
"""For what is not a client of the API: files, workers, other nodes, the engine."""


def raise_limit() -> int:
    """The soft limit, usually 1,024 for the sake of select(2), is raised to the hard one, as Go's
    programs do by themselves. What it is then; what this process starts has it, too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a system that has no more to give than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft


def left_for_clients(limit: int, wanted: int) -> int:
    """How many connections of `wanted` there is room for."""
    if limit == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, limit - KEPT))
