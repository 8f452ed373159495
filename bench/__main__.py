"""`python -m bench [SUITE ...]`: measure, compare, and say which figures are reached."""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from . import report
from .context import Context
from .machine import described
from .processes import LOAD_CORE
from .samples import Outcome
from .suites import answers, cluster, dns, dnsfront, http, renew, scale, visible

SUITES: dict[str, Callable[[Context], None]] = {
    "dns": dns.run,
    "answers": answers.run,
    "dnsfront": dnsfront.run,
    "http": http.run,
    "renew": renew.run,
    "visible": visible.run,
    "scale": scale.run,
    "cluster": cluster.run,
}
SECONDS, ROUNDS = 2.0, 5
QUICK_SECONDS, QUICK_ROUNDS = 1.0, 1
RESULTS = Path(__file__).with_name("results")


def main() -> int:
    arguments = _arguments()
    # Whoever stops us, the servers are stopped too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    # Inherited by every load generator; servers are put on their own core.
    os.sched_setaffinity(0, {LOAD_CORE})
    if arguments.nice:
        os.nice(arguments.nice)
    with tempfile.TemporaryDirectory(prefix="callboard-bench-", dir=arguments.work_dir) as name:
        machine = described(Path(name)) | {"nice": str(arguments.nice)}
        if machine["disk"] == "tmpfs":
            sys.exit(f"{arguments.work_dir} is a tmpfs: a sync there costs nothing (--work-dir)")
        outcomes = []
        for suite in arguments.suites:
            outcome = _run(suite, Path(name) / suite, arguments)
            outcomes.append(outcome)
            print(report.tables(outcome), flush=True)
            if arguments.results:
                report.write(outcome, machine, arguments.results)
    print(report.figures(outcomes))
    return 0 if all(outcome.tables for outcome in outcomes) else 1


def _run(suite: str, work_dir: Path, arguments: argparse.Namespace) -> Outcome:
    """A suite that fails says so in its outcome; the others still run."""
    outcome = Outcome(suite)
    work_dir.mkdir()
    print(suite, flush=True)
    with contextlib.ExitStack() as stack:
        quick = arguments.quick
        context = Context(
            work_dir=work_dir,
            stack=stack,
            outcome=outcome,
            seconds=QUICK_SECONDS if quick else arguments.seconds,
            rounds=QUICK_ROUNDS if quick else arguments.rounds,
            quick=quick,
        )
        try:
            SUITES[suite](context)
        except Exception as error:  # noqa: BLE001  # said below, in the results, and by exit code
            traceback.print_exc()
            outcome.missing.append(f"the rest of this suite: {error!r}")
    return outcome


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="one window (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="per case (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a try-out: its figures are no result")
    parser.add_argument("--work-dir", default="/var/tmp", help="on a real disk (%(default)s)")
    parser.add_argument(
        "--nice", type=int, default=0, help="of servers and load alike; below 0 only as root"
    )
    parser.add_argument("--results", type=Path, help=f"{RESULTS}, or none for --quick")
    arguments = parser.parse_args()
    arguments.suites = arguments.suites or list(SUITES)
    if not (arguments.results or arguments.quick):
        arguments.results = RESULTS
    unknown = set(arguments.suites) - SUITES.keys()
    if unknown:
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
