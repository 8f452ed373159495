"""`callboard snapshot save` and `restore`."""

import click

from ..errors import Conflict
from ..snapshots import SNAPSHOT_S
from ..sync import Client
from .session import Duration, Failed, board, server_options


@click.group()
def snapshot() -> None:
    """Save or restore everything that is stored."""


_duration = click.option(
    "--for",
    "allowed_s",
    type=Duration(),
    default=SNAPSHOT_S,
    metavar="DURATION",
    help="How long it may take; default 10m.",
)


@snapshot.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@_duration
@server_options
def save(file: str, force: bool, allowed_s: float, server: str | None, timeout: float) -> None:
    """Save everything to FILE, which appears whole or not at all."""
    try:
        with board(server, timeout) as client:
            size_bytes = _save(client, file, force, allowed_s)
    except OSError as error:
        raise Failed(f"{file}: {error.strerror or error}: choose another file") from error
    click.echo(f"saved {size_bytes} bytes to {file}")


def _save(client: Client, file: str, force: bool, allowed_s: float) -> int:
    try:
        return client.snapshot.save(file, force=force, timeout=allowed_s)
    except Conflict as error:
        raise Failed(f"{file} exists: name another file, or replace it with --force") from error


@snapshot.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@_duration
@server_options
def restore(file: str, allowed_s: float, server: str | None, timeout: float) -> None:
    """Make the server hold what FILE holds, and nothing else."""
    try:
        with board(server, timeout) as client:
            index = client.snapshot.restore(file, timeout=allowed_s)
    except OSError as error:
        raise Failed(f"{file}: {error.strerror or error}: choose another file") from error
    click.echo(f"restored {file}, now at index {index}")
