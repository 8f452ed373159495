"""Renewals: one at a time, and many to a call."""

from collections.abc import Callable

from .. import wrk
from ..board import services
from ..context import Context
from ..names import RECORDS_PER_NAME
from ..rounds import check_usage, interleaved
from ..samples import Table, at_least
from .http import series_of

SERVICES = 10_000
SINGLE_CONNECTIONS = 64
SINGLE_MIN = 5_000
BATCH_CONNECTIONS = 4
BATCHED_MIN = 200_000
SINGLE = "one at a time"


def run(context: Context) -> None:
    board = context.board("renew")
    board.fill(services(0, SERVICES))

    def window(script: str, connections: int, *arguments: str) -> Callable[[], wrk.Window]:
        return lambda: wrk.run(
            board.http_port,
            script,
            connections,
            context.seconds,
            board.server.cpu_s,
            *(str(SERVICES), *arguments),
        )

    context.say(f"renewals of {SERVICES * RECORDS_PER_NAME:,} instances")
    cases = {
        SINGLE: (window("heartbeat", SINGLE_CONNECTIONS), 1),
        "1,000 a call": (window("heartbeats", BATCH_CONNECTIONS, "1000"), 1_000),
        "10,000 a call": (window("heartbeats", BATCH_CONNECTIONS, "10000"), 10_000),
    }
    index = board.status()["index"]
    measured = interleaved(context, {label: case[0] for label, case in cases.items()})
    if board.status()["index"] != index:
        context.doubt("renewals wrote to the engine")
    usages = {label: [one.usage for one in seen] for label, seen in measured.items()}
    check_usage(context, "renewals", usages)
    series = [
        series_of(context, "renewals", label, measured[label], each=each)
        for label, (_, each) in cases.items()
    ]
    context.outcome.tables.append(Table("Renewals", "renewals/s", "more", series))
    single, *batched = series
    context.outcome.figures += [
        at_least("renewals, single", f"≥ {SINGLE_MIN:,}/s", single.median, SINGLE_MIN, "/s"),
        *(
            at_least(
                f"renewals, {one.label}", f"≥ {BATCHED_MIN:,}/s", one.median, BATCHED_MIN, "/s"
            )
            for one in batched
        ),
    ]
