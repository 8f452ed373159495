"""`callboard lookup`: what the node's DNS says."""

from typing import Final
from urllib.parse import urlsplit

import click

from ...addresses import Address, parse_address
from ..dns_query import TYPES, BadName, DnsAnswer, NoDnsAnswer, Record, ask
from ..endpoints import parse_servers
from ..errors import InvalidArgument
from .printing import print_json, printable
from .session import (
    Failed,
    NoServer,
    WrongUsage,
    failed,
    json_option,
    namespace_option,
    server_options,
)

DNS_PORT: Final = 8600
DNS_VARIABLE: Final = "CALLBOARD_DNS"
DEFAULT_ZONE: Final = "callboard.internal"
DEFAULT_TYPES: Final = ("A", "AAAA", "SRV")


@click.command()
@click.argument("name")
@click.option(
    "--type", "qtype", type=click.Choice(TYPES, case_sensitive=False), help="Default A, AAAA, SRV."
)
@click.option(
    "--dns",
    envvar=DNS_VARIABLE,
    metavar="ADDR:PORT",
    help=f"The node's DNS; the first server's, port {DNS_PORT}, if left out.  [{DNS_VARIABLE}]",
)
@json_option
@namespace_option
@server_options
def lookup(
    name: str,
    qtype: str | None,
    dns: str | None,
    as_json: bool,
    namespace: str,
    server: str | None,
    timeout: float,
) -> None:
    """Ask the node's DNS for NAME; a bare word is a service of that name.

    `callboard lookup web` asks for web.service.callboard.internal.
    """
    address = _dns_address(dns, server)
    full_name = _full_name(name, namespace)
    types = [qtype.upper()] if qtype else DEFAULT_TYPES
    try:
        answers = [ask(address, full_name, one, timeout) for one in types]
    except BadName as error:
        raise WrongUsage(str(error)) from error
    except NoDnsAnswer as error:
        advice = f"name the node's DNS with --dns or {DNS_VARIABLE}"
        raise NoServer(f"no answer: {error}: {advice}") from error
    _print(full_name, answers, as_json)


def _print(name: str, answers: list[DnsAnswer], as_json: bool) -> None:
    for answer in answers:
        if answer.rcode != "NOERROR":
            raise Failed(f"{name}: {answer.rcode}: {_explained(answer.rcode)}")
    records: list[Record] = list(dict.fromkeys(r for answer in answers for r in answer.records))
    if as_json:
        print_json([record._asdict() for record in records])
    for record in records if not as_json else ():
        click.echo(printable(f"{record.name} {record.ttl} IN {record.type} {record.data}"))
    if not records:
        raise Failed(f"{name}: the name exists, but has no record of the type asked for")


def _explained(rcode: str) -> str:
    if rcode == "NXDOMAIN":
        return "there is no such name; `callboard services` lists the services"
    if rcode == "REFUSED":
        return "the name is outside the server's zones, and it forwards nowhere"
    return "the server could not answer; its log says why"


def _full_name(name: str, namespace: str) -> str:
    if "." in name:
        return name
    if namespace.lower() == "default":
        return f"{name}.service.{DEFAULT_ZONE}"
    return f"{name}.service.{namespace}.ns.{DEFAULT_ZONE}"


def _dns_address(dns: str | None, server: str | None) -> Address:
    if dns is not None:
        try:
            return parse_address(dns)
        except ValueError as error:
            raise click.UsageError(f"--dns: {error}") from error
    try:
        host = urlsplit(parse_servers(server)[0]).hostname
    except InvalidArgument as error:
        raise failed(error) from error
    assert host is not None
    return Address(host, DNS_PORT)
