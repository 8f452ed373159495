"""`callboard kv`: the key-value store."""

import base64
import sys
from typing import Final

import click

from ..results import KvPair
from .printing import print_json, print_table, printable
from .session import Duration, Failed, board, json_option, server_options

SHOWN_CHARS_MAX: Final = 60
"""Of a value in a table; `kv get` prints all of it."""


@click.group()
def kv() -> None:
    """Read and write the key-value store."""


@kv.command()
@click.argument("key")
@json_option
@server_options
def get(key: str, as_json: bool, server: str | None, timeout: float) -> None:
    """Print the value of KEY, byte for byte."""
    with board(server, timeout) as client:
        pair = client.kv.get(key)
    if pair is None:
        raise Failed(f"there is no key {key!r}: `callboard kv list` shows those there are")
    if as_json:
        print_json(_as_json(pair))
        return
    click.echo(pair.value, nl=sys.stdout.isatty() and not pair.value.endswith(b"\n"))


@kv.command()
@click.argument("key")
@click.argument("value")
@click.option(
    "--cas", type=click.IntRange(0), metavar="INDEX", help="Only if KEY is still at INDEX; 0: new."
)
@click.option("--flags", type=click.IntRange(0, 2**64 - 1), default=0, metavar="N")
@click.option("--ttl", type=Duration(), metavar="DURATION", help="How long KEY stays.")
@server_options
def put(
    key: str,
    value: str,
    cas: int | None,
    flags: int,
    ttl: float | None,
    server: str | None,
    timeout: float,
) -> None:
    """Store VALUE under KEY; a VALUE of - is read from standard input."""
    data = sys.stdin.buffer.read() if value == "-" else value.encode()
    with board(server, timeout) as client:
        if cas is None:
            client.kv.put(key, data, flags=flags, ttl=ttl)
        elif not client.kv.cas(key, data, cas, flags=flags, ttl=ttl):
            raise Failed(_lost(key, cas))


@kv.command()
@click.argument("key")
@click.option("--recurse", is_flag=True, help="All keys that start with KEY.")
@click.option("--cas", type=click.IntRange(0), metavar="INDEX", help="Only if still at INDEX.")
@server_options
def delete(key: str, recurse: bool, cas: int | None, server: str | None, timeout: float) -> None:
    """Delete KEY; a key that is not there counts as deleted."""
    if recurse and cas is not None:
        raise click.UsageError("--cas is for one key: leave --recurse out")
    with board(server, timeout) as client:
        if not client.kv.delete(key, recurse=recurse, cas=cas):
            raise Failed(_lost(key, cas))


@kv.command("list")
@click.argument("prefix", default="")
@click.option("--keys-only", is_flag=True, help="The keys alone, one a line.")
@click.option("--separator", metavar="TEXT", help="Keys up to the next TEXT, as a directory.")
@json_option
@server_options
def list_(
    prefix: str,
    keys_only: bool,
    separator: str | None,
    as_json: bool,
    server: str | None,
    timeout: float,
) -> None:
    """List the keys that start with PREFIX, with their values."""
    with board(server, timeout) as client:
        if keys_only or separator:
            keys = client.kv.keys(prefix, separator=separator)
            if as_json:
                print_json(keys)
            else:
                for key in keys:
                    click.echo(printable(key))
            return
        pairs = client.kv.list(prefix)
    if as_json:
        print_json([_as_json(pair) for pair in pairs])
        return
    rows = [(pair.key, str(pair.index), str(pair.flags), _shown(pair.value)) for pair in pairs]
    print_table(("KEY", "INDEX", "FLAGS", "VALUE"), rows)


def _lost(key: str, cas: int | None) -> str:
    return f"{key!r} is not at index {cas} any more: read it again (`kv get --json`), then decide"


def _shown(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}..."


def _as_json(pair: KvPair) -> dict[str, object]:
    return {
        "Key": pair.key,
        "Value": base64.b64encode(pair.value).decode(),
        "Flags": pair.flags,
        "CreateIndex": pair.create_index,
        "ModifyIndex": pair.index,
    }
