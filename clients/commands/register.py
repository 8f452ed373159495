"""`callboard register` and `deregister`."""

import re

import click

from ..registration import made_id
from .printing import print_json
from .session import Duration, Pairs, board, namespace_option, server_options


class NamedPort(click.ParamType[tuple[str, int, str]]):
    """`NAME=PORT` or `NAME=PORT/PROTOCOL`."""

    name = "port"

    def convert(
        self,
        value: str | tuple[str, int, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, int, str]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([^=]+)=(\d{1,5})(?:/(\w+))?", value)
        if found is None or not 1 <= int(found[2]) <= 65535:
            self.fail(f"{value!r} is not NAME=PORT or NAME=PORT/PROTOCOL", param, ctx)
        return found[1], int(found[2]), found[3] or "tcp"


@click.command()
@click.argument("service")
@click.option("--id", "instance_id", metavar="ID", help="The instance; made if left out.")
@click.option("--address", metavar="ADDRESS", help="Where it listens; this host if left out.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT")
@click.option(
    "--named-port",
    "named_ports",
    type=NamedPort(),
    multiple=True,
    metavar="NAME=PORT[/PROTO]",
    help="A further port; may be given more than once.",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="May be given more than once.")
@click.option(
    "--meta",
    type=Pairs(),
    multiple=True,
    metavar="KEY=VALUE",
    help="May be given more than once.",
)
@click.option(
    "--ttl", type=Duration(), metavar="DURATION", help="How long it stays unless renewed; 0: ever."
)
@click.option("--weight", type=click.IntRange(0, 65535), metavar="N")
@click.option("--priority", type=click.IntRange(0, 65535), metavar="N")
@click.option("--status", type=click.Choice(["passing", "warning", "critical", "maintenance"]))
@click.option("--json", is_flag=True, expose_value=False, help="It always prints JSON.")
@namespace_option
@server_options
def register(
    service: str,
    instance_id: str | None,
    address: str | None,
    port: int | None,
    named_ports: tuple[tuple[str, int, str], ...],
    tags: tuple[str, ...],
    meta: tuple[tuple[str, str], ...],
    ttl: float | None,
    weight: int | None,
    priority: int | None,
    status: str | None,
    namespace: str,
    server: str | None,
    timeout: float,
) -> None:
    """Register an instance of SERVICE, or renew it, and print the registration as JSON.

    Nothing renews it afterwards: repeat the command within the TTL, or use --ttl 0.
    """
    with board(server, timeout) as client:
        instance = client.put_instance(
            service,
            made_id(service) if instance_id is None else instance_id,
            address=address,
            port=port,
            ports={name: (number, protocol) for name, number, protocol in named_ports},
            tags=tags,
            meta=dict(meta),
            ttl=ttl,
            weight=weight,
            priority=priority,
            status=status,
            namespace=namespace,
        )
    print_json(instance)


@click.command()
@click.argument("service")
@click.argument("instance_id", metavar="ID")
@namespace_option
@server_options
def deregister(
    service: str, instance_id: str, namespace: str, server: str | None, timeout: float
) -> None:
    """Take the instance ID of SERVICE off the board."""
    with board(server, timeout) as client:
        client.deregister(service, instance_id, namespace=namespace)
