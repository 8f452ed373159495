"""Who used the cores during a window: the server, the load, or somebody else."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from .processes import ALL_CORES, LOAD_CORE, SERVER_CORE, busy_s

FOREIGN_SHARE_MAX = 0.15
"""Beside server and load: softirqs and timers take a few percent by themselves."""
LOAD_SHARE_FULL = 0.95


@dataclass(frozen=True)
class Usage:
    """`server_s` is CPU time; the shares are of one core, 1.0 is all of it."""

    server_s: float
    server_share: float
    load_share: float
    foreign_server_share: float
    foreign_load_share: float

    @property
    def load_was_full(self) -> bool:
        return self.load_share > LOAD_SHARE_FULL

    @property
    def disturbance(self) -> float:
        """The worse of both cores: what somebody else took, or 0 when it was nothing much."""
        foreign = max(self.foreign_server_share, self.foreign_load_share)
        return foreign if foreign > FOREIGN_SHARE_MAX else 0.0


class Meter:
    """Reads all clocks when made, and again in `usage`."""

    def __init__(self, server_cpu_s: Callable[[], float], *, together: bool = False) -> None:
        """`server_cpu_s` reads the CPU clock of what is measured, which shares all cores with the
        load if they are `together`."""
        self._server_cpu_s = server_cpu_s
        self._together = together
        self._began = self._clocks()

    def usage(self) -> Usage:
        """Call it when the load generator has been waited for: only then its time counts."""
        wall, server, load, server_core, load_core, all_cores = (
            after - before for after, before in zip(self._clocks(), self._began, strict=True)
        )
        foreign = server_core - server, load_core - load
        if self._together:
            foreign = all_cores - server - load, 0.0
        return Usage(server, server / wall, load / wall, *(max(0.0, one / wall) for one in foreign))

    def _clocks(self) -> tuple[float, ...]:
        load = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (
            time.monotonic(),
            self._server_cpu_s(),
            load.ru_utime + load.ru_stime,
            busy_s(SERVER_CORE),
            busy_s(LOAD_CORE),
            sum(map(busy_s, ALL_CORES)),
        )
