"""Memory, disk and start at 10^3 to 10^6 instances."""

import time
from dataclasses import dataclass

from ..board import Board, services
from ..context import Context
from ..dns_peers import answers
from ..names import RECORDS_PER_NAME, owner
from ..samples import Figure, Series, Table, at_most

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
REGISTRY_BYTES_MAX = 1.2 * 1024
WORKER_BYTES_MAX = 500
START_S_MAX = 20.0


@dataclass(frozen=True)
class Grown:
    """Bytes above the empty node, after the fill and after a restart."""

    label: str
    instances: int
    fill_s: float
    registry_bytes: tuple[int, int]
    worker_bytes: tuple[int, int]
    disk_bytes: int
    start_s: float


def run(context: Context) -> None:
    sizes = QUICK_SIZES if context.quick else SIZES
    grown = [_grow(context, size, RECORDS_PER_NAME) for size in sizes]
    grown.append(_grow(context, sizes[-1], 1))
    context.outcome.tables += [
        _memory("Memory: registry process", [(one, one.registry_bytes) for one in grown]),
        _memory("Memory: DNS worker", [(one, one.worker_bytes) for one in grown]),
        _start(grown),
    ]
    context.outcome.figures += _figures(grown)


def _grow(context: Context, instances: int, of: int) -> Grown:
    label = f"{instances:,} instances, services of {'three' if of > 1 else 'one'}"
    context.say(label)
    with Board(context.work_dir, f"scale{instances}") as board:
        empty = board.registry_rss_bytes(), board.worker_rss_bytes()
        count = instances // of
        began = time.perf_counter()
        board.fill(services(0, count, of))
        fill_s = time.perf_counter() - began
        _wait_for(board, count)
        filled = board.registry_rss_bytes(), board.worker_rss_bytes()
        board.server.stop()
        disk = board.data_bytes()
        board.start()
        _wait_for(board, count)
        again = board.registry_rss_bytes(), board.worker_rss_bytes()
        if board.status()["instances"] != count * of:
            context.doubt(f"{label}: {board.status()['instances']:,} after the restart")
        return Grown(
            label,
            count * of,
            fill_s,
            (filled[0] - empty[0], again[0] - empty[0]),
            (filled[1] - empty[1], again[1] - empty[1]),
            disk,
            board.start_s,
        )


def _wait_for(board: Board, count: int) -> None:
    board.server.wait_until(lambda: answers(board.dns_port, owner(count - 1)))


def _memory(title: str, rows: list[tuple[Grown, tuple[int, int]]]) -> Table:
    series = [
        Series(
            one.label,
            tuple(value / one.instances for value in values),
            {
                "after fill": f"{values[0] / one.instances:,.0f} B",
                "after restart": f"{values[1] / one.instances:,.0f} B",
                "MiB": f"{max(values) / 2**20:,.1f}",
            },
            ours=True,
        )
        for one, values in rows
    ]
    return Table(title, "bytes an instance above the empty node", "less", series)


def _start(grown: list[Grown]) -> Table:
    series = [
        Series(
            one.label,
            (one.start_s,),
            {
                "fill /s": f"{one.instances / one.fill_s:,.0f}",
                "disk MiB": f"{one.disk_bytes / 2**20:,.1f}",
                "disk B an instance": f"{one.disk_bytes / one.instances:,.0f}",
            },
            ours=True,
        )
        for one in grown
    ]
    return Table("Start: from exec until it answers", "s", "less", series)


def _figures(grown: list[Grown]) -> list[Figure]:
    """The worse of after the fill and after a restart counts."""
    largest = [one for one in grown if one.instances >= SIZES[-1] - RECORDS_PER_NAME]
    if not largest:
        return [Figure(f"{SIZES[-1]:,} instances", "memory and start", "not measured", None)]
    return [figure for one in largest for figure in _figures_of(one)]


def _figures_of(one: Grown) -> list[Figure]:
    return [
        at_most(
            f"memory of the registry process, {one.label}",
            f"≤ {REGISTRY_BYTES_MAX:,.0f} B an instance",
            max(one.registry_bytes) / one.instances,
            REGISTRY_BYTES_MAX,
            " B",
        ),
        at_most(
            f"memory of the DNS worker, {one.label}",
            f"≤ {WORKER_BYTES_MAX} B an instance",
            max(one.worker_bytes) / one.instances,
            WORKER_BYTES_MAX,
            " B",
        ),
        at_most(f"start, {one.label}", f"≤ {START_S_MAX:g} s", one.start_s, START_S_MAX, " s"),
    ]
