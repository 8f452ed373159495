"""`callboard members`: the nodes of the cluster."""

import click

from .printing import print_json, print_table
from .session import board, json_option, server_options


@click.command()
@json_option
@server_options
def members(as_json: bool, server: str | None, timeout: float) -> None:
    """List the nodes of the cluster."""
    with board(server, timeout) as client:
        found = client.members()
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
