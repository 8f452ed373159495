"""A node comes back after 100,000 changes: until it has caught up, and what writing suffers.

Beside the usual rate of three: while one is away, two have less to do for each write.
"""

import threading
import time

from .. import wrk
from ..board import services
from ..context import Context
from ..names import RECORDS_PER_NAME
from ..samples import Series, Table, at_most
from .nodes import Nodes

CHANGES, QUICK_CHANGES = 100_000, 3_000
CAUGHT_UP_S_MAX = 10.0
SLOWER_MAX_PERCENT = 20.0
FIRST_SERVICE = 500_000
"""Far from the services that other measurements use."""
CONNECTIONS = 8
WINDOW_S = 5.0
"""It takes a node longer to come back: all of the last window is within that."""
_POLL_S = 0.01


def measure(context: Context, nodes: Nodes) -> None:
    changes = QUICK_CHANGES if context.quick else CHANGES
    context.say(f"a node is away for {changes:,} changes")
    status = nodes.settled()
    away = next(name for name in nodes.boards if name not in (status["leader"], status["keeper"]))
    present = [name for name in nodes.boards if name != away]
    usual = _write(context, nodes, present, "usual")
    nodes.boards[away].server.stop()
    nodes.boards[present[0]].fill(services(FIRST_SERVICE, changes // RECORDS_PER_NAME + 1))
    without = _write(context, nodes, present, "without")
    during: list[wrk.Window] = []
    writing = threading.Thread(
        target=lambda: during.append(_write(context, nodes, present, "during"))
    )
    target = nodes.status(present[0])["index"]
    writing.start()
    began = time.monotonic()
    nodes.boards[away].start()
    while nodes.status(away)["index"] < target:
        time.sleep(_POLL_S)
    caught_up_s = time.monotonic() - began
    writing.join()
    slower = 100 * (1 - during[0].rate / usual.rate)
    series = Series(
        "from exec until it shows what was written before",
        (caught_up_s,),
        {
            "changes": f"{changes:,}",
            "writes/s, all three": f"{usual.rate:,.0f}",
            "while it is away": f"{without.rate:,.0f}",
            "meanwhile": f"{during[0].rate:,.0f}",
        },
        ours=True,
    )
    context.outcome.tables.append(Table("Cluster: a node that comes back", "s", "less", [series]))
    context.outcome.figures += [
        at_most(
            f"a node back {changes:,} changes later, caught up",
            f"≤ {CAUGHT_UP_S_MAX:g} s",
            caught_up_s,
            CAUGHT_UP_S_MAX,
            " s",
        ),
        at_most(
            "writes slowed meanwhile, beside those of all three",
            f"≤ {SLOWER_MAX_PERCENT:g} %",
            slower,
            SLOWER_MAX_PERCENT,
            " %",
        ),
    ]


def _write(context: Context, nodes: Nodes, names: list[str], window: str) -> wrk.Window:
    ports = {nodes.boards[name].http_port: (f"{window}{name}",) for name in names}
    written = wrk.run_spread(ports, "put", CONNECTIONS, WINDOW_S, nodes.cpu_s, together=True)
    if written.errors:
        context.doubt(f"a returning node: {written.errors} of {written.requests} writes failed")
    return written
