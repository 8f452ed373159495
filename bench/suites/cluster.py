"""Three nodes sharing the machine, beside a three-member etcd of the same version."""

from ..board import services
from ..cluster import failover, reach, returning, writes
from ..cluster.nodes import EtcdTrio, Nodes
from ..context import Context
from ..processes import DidNotStart, Missing

SERVICES, QUICK_SERVICES = 10_000, 3_500
"""Of three instances each: enough for the largest call of renewals to name no instance twice."""


def run(context: Context) -> None:
    nodes = Nodes(context.work_dir, context.stack)
    count = QUICK_SERVICES if context.quick else SERVICES
    next(iter(nodes.boards.values())).fill(services(0, count))
    reach.visible(context, nodes)
    reach.renewals(context, nodes, count)
    writes.measure(context, nodes, _etcd(context))
    returning.measure(context, nodes)
    failover.measure(context, nodes)


def _etcd(context: Context) -> EtcdTrio | None:
    try:
        return EtcdTrio(context.work_dir, context.stack)
    except Missing as missing:
        context.outcome.missing.append(f"etcd ({missing} is not installed)")
    except DidNotStart as error:
        context.outcome.missing.append(f"etcd (did not start: {error})")
    return None
