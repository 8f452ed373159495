"""`callboard watch`: what is registered, changes and goes, one line each."""

import click

from ..results import DeleteEvent, Event, Instance, PutEvent, SnapshotEvent
from .printing import print_json, printable
from .session import board, json_option, namespace_option, server_options


@click.command()
@click.argument("service", required=False)
@json_option
@namespace_option
@server_options
def watch(
    service: str | None, as_json: bool, namespace: str, server: str | None, timeout: float
) -> None:
    """Follow SERVICE, or everything in the namespace, until Ctrl-C."""
    try:
        with board(server, timeout) as client:
            for event in client.watch(service, namespace=namespace):
                if as_json:
                    print_json(event, one_line=True)
                else:
                    for line in _lines(event):
                        click.echo(printable(line))
    except KeyboardInterrupt:
        return  # how a watch is meant to end


def _lines(event: Event) -> list[str]:
    match event:
        case SnapshotEvent():
            again = ", events before may be missing" if event.resync else ""
            head = f"snapshot  {len(event.instances)} registered at index {event.index}{again}"
            return [head, *(_line("present", instance) for instance in event.instances)]
        case PutEvent():
            return [_line("put", event.instance)]
        case DeleteEvent():
            gone = event.instance
            return [f"{'delete':8}  {gone.service}  {gone.id}  {event.reason}"]


def _line(word: str, instance: Instance) -> str:
    output = f"  {instance.output}" if instance.output else ""
    return (
        f"{word:8}  {instance.service}  {instance.id}  {instance.endpoint}"
        f"  {instance.status}{output}"
    )
