"""`make faults`: every row of the matrix, round after round, and a table at the end."""

import argparse
import signal
import sys
import time
from pathlib import Path

from .cluster import Way
from .rows import ROWS, ways
from .run import Outcome, Row, run


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is taken away
    wanted = options.rows.split(",") if options.rows else list(ROWS)
    unknown = [name for name in wanted if name not in ROWS]
    if unknown:
        sys.stderr.write(f"no such rows: {', '.join(unknown)}; there are {', '.join(ROWS)}\n")
        return 2
    outcomes = []
    way: Way = options.way or ways()[0]
    try:
        for number in range(options.rounds):
            for name in wanted:
                keep = Path(options.keep, f"{name}-{options.seed + number}")
                keep.mkdir(parents=True, exist_ok=True)
                outcomes.append(_one(ROWS[name], options.seed + number, way, keep))
    finally:
        _print_table(outcomes)
    return int(any(outcome.faults for outcome in outcomes))


def _one(row: Row, seed: int, way: Way, keep: Path) -> Outcome:
    began = time.monotonic()
    outcome = run(row, seed, way, keep)
    sys.stderr.write(
        f"{row.name} seed {seed}: {outcome.verdict} in {time.monotonic() - began:.0f} s\n"
    )
    sys.stderr.write(f"    seen: {'; '.join(outcome.seen) or 'nothing'}\n")
    for check, faults in outcome.faults.items():
        for fault in faults:
            sys.stderr.write(f"    {check}: {fault[:600]}\n")
    sys.stderr.flush()
    return outcome


def _print_table(outcomes: list[Outcome]) -> None:
    head = ("row", "seed", "before", "during", "after", "unknown", "fault", "heal", "verdict")
    lines = [
        (
            *(o.row, str(o.seed), str(o.before), str(o.during), str(o.after), str(o.unknown)),
            *(f"{o.fault_s:.1f} s", f"{o.heal_s:.1f} s"),
            o.verdict
            + (f": {', '.join(o.faults)}" if o.faults else o.skipped and f": {o.skipped}"),
        )
        for o in outcomes
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in (head, *lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rows", default="", help="names, with commas; all when left out")
    parser.add_argument("--way", choices=("cluster", "etcd"))
    parser.add_argument("--keep", default="/tmp/callboard-faults", help="for histories and logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
