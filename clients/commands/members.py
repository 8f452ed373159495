"""`callboard members`: the nodes of the cluster, and changing them."""

from collections.abc import Sequence

import click

from ..results import Member
from .printing import print_json, print_table
from .session import board, json_option, server_options


@click.group(invoke_without_command=True)
@json_option
@server_options
@click.pass_context
def members(ctx: click.Context, as_json: bool, server: str | None, timeout: float) -> None:
    """List the nodes of the cluster, or change them."""
    if ctx.invoked_subcommand is not None:
        return
    with board(server, timeout) as client:
        _show(client.members(), as_json)


@members.command()
@click.argument("name")
@click.argument("address", metavar="HOST:PORT")
@json_option
@server_options
def add(name: str, address: str, as_json: bool, server: str | None, timeout: float) -> None:
    """Let the node NAME join, whose --peer is HOST:PORT.

    Then start it, on an empty data directory, with --cluster holding all nodes and itself.
    """
    with board(server, timeout) as client:
        _show(client.add_member(name, address), as_json)


@members.command()
@click.argument("name")
@server_options
def remove(name: str, server: str | None, timeout: float) -> None:
    """Take the node NAME out of the cluster for good; it stops by itself."""
    with board(server, timeout) as client:
        client.remove_member(name)


@members.command()
@json_option
@server_options
def transfer(as_json: bool, server: str | None, timeout: float) -> None:
    """Let another node keep the leases, and lead, than the server that is asked."""
    with board(server, timeout) as client:
        now = client.transfer()
    if as_json:
        print_json(now)
    else:
        print_table(("KEEPER", "LEADER"), [(now.keeper or "-", now.leader or "-")])


def _show(found: Sequence[Member], as_json: bool) -> None:
    if as_json:
        print_json({"members": found})
        return
    rows = [
        (
            member.name,
            member.address,
            "leader" if member.leader else "",
            "healthy" if member.healthy else "unhealthy",
        )
        for member in found
    ]
    print_table(("NAME", "ADDRESS", "ROLE", "HEALTH"), rows)
