"""`callboard services` and `instances`: what is on the board."""

import click

from .printing import print_json, print_table, seconds
from .session import Pairs, board, json_option, namespace_option, server_options


@click.command()
@json_option
@namespace_option
@server_options
def services(as_json: bool, namespace: str, server: str | None, timeout: float) -> None:
    """List the services."""
    with board(server, timeout) as client:
        found = client.services(namespace=namespace)
    if as_json:
        print_json({"services": found})
        return
    rows = [
        (name, str(service.instances), str(service.passing), ",".join(service.tags))
        for name, service in sorted(found.items())
    ]
    print_table(("SERVICE", "INSTANCES", "PASSING", "TAGS"), rows)


@click.command()
@click.argument("service")
@click.option("--passing", is_flag=True, help="Only those that are handed out.")
@click.option("--tag", metavar="TAG", help="Only those with the tag.")
@click.option(
    "--meta", type=Pairs(), multiple=True, metavar="KEY=VALUE", help="Only those with this pair."
)
@click.option("--consistency", type=click.Choice(["default", "strong", "stale"]))
@json_option
@namespace_option
@server_options
def instances(
    service: str,
    passing: bool,
    tag: str | None,
    meta: tuple[tuple[str, str], ...],
    consistency: str | None,
    as_json: bool,
    namespace: str,
    server: str | None,
    timeout: float,
) -> None:
    """List the instances of SERVICE."""
    with board(server, timeout) as client:
        found = client.instances(
            service,
            passing=passing,
            tag=tag,
            meta=dict(meta),
            namespace=namespace,
            consistency=consistency,
        )
    if as_json:
        print_json({"instances": list(found)})
        return
    if not found:
        click.echo(f"callboard: no instance of {service!r} fits", err=True)
    rows = [
        (
            instance.id,
            instance.endpoint,
            instance.status,
            ",".join(instance.tags),
            seconds(instance.expires_in),
        )
        for instance in found
    ]
    print_table(("ID", "ADDRESS", "STATUS", "TAGS", "EXPIRES"), rows)
