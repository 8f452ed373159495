"""What all client verbs share: the options that find the server, and the exit codes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click

from ... import exit_codes
from ...durations import parse_duration_s
from ..endpoints import DEFAULT_SERVER, SERVER_VARIABLE
from ..errors import CallboardError, InvalidArgument, NoServerAnswered, OutcomeUnknown, TimedOut
from ..sync import Client
from ..trust import CA_VARIABLE, CERT_VARIABLE, KEY_VARIABLE

TRUST_OPTIONS: Final = (
    ("ca", CA_VARIABLE, "The CAs that https servers are checked with, instead of the system's."),
    ("cert", CERT_VARIABLE, "The client certificate to show."),
    ("key", KEY_VARIABLE, "The key of that certificate."),
)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Failed(click.ClickException):
    """The server said no: one line on standard error, and an exit code."""

    exit_code = exit_codes.REFUSED


class WrongUsage(Failed):
    exit_code = exit_codes.USAGE


class NoServer(Failed):
    exit_code = exit_codes.NO_SERVER


class Duration(click.ParamType[float]):
    """500ms, 15s, 2m, 1h or a number of seconds."""

    name = "duration"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            return parse_duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Pairs(click.ParamType[tuple[str, str]]):
    """`KEY=VALUE`."""

    name = "k=v"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, text


def server_options(command: Decorated) -> Decorated:
    """`--server` and `--timeout`, and those of TLS."""
    server = click.option(
        "--server",
        envvar=SERVER_VARIABLE,
        metavar="URL,...",
        help=f"Servers, tried in turn.  [{SERVER_VARIABLE}; default {DEFAULT_SERVER}]",
    )
    timeout = click.option(
        "--timeout", type=Duration(), default="10s", metavar="DURATION", help="Default 10s."
    )
    for flag, variable, what in reversed(TRUST_OPTIONS):
        command = click.option(
            f"--{flag}",
            f"tls_{flag}",  # `kv` has an argument `key` of its own
            envvar=variable,
            metavar="FILE",
            expose_value=False,
            callback=_remember,
            help=f"{what}  [{variable}]",
        )(command)
    return server(timeout(command))


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Kept for `board`: no command needs to know of them."""
    ctx.meta[f"{__name__}.{param.name}"] = value


namespace_option: Final = click.option(
    "--namespace",
    envvar="CALLBOARD_NAMESPACE",
    default="default",
    metavar="NAME",
    help="The namespace of the service.  [CALLBOARD_NAMESPACE]",
)
json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, as the HTTP API answers it."
)


@contextmanager
def board(server: str | None, timeout: float) -> Iterator[Client]:
    """A client whose errors become one line and an exit code."""
    try:
        meta = click.get_current_context().meta
        trust = {flag: meta.get(f"{__name__}.tls_{flag}") for flag, _, _ in TRUST_OPTIONS}
        with Client(server, timeout=timeout, **trust) as client:
            yield client
    except CallboardError as error:
        raise failed(error) from error


def failed(error: CallboardError) -> Failed:
    match error:
        case NoServerAnswered():
            advice = "start one with `callboard serve`, or name another with --server"
            return NoServer(f"{error.message}: {advice}")
        case TimedOut(status=None):
            return NoServer(f"{error.message}: try again, or allow more --timeout")
        case OutcomeUnknown(status=None):
            return NoServer(error.message)
        case InvalidArgument(status=None):
            return WrongUsage(error.message)
        case InvalidArgument() if error.field and error.field not in error.message:
            return Failed(f"{error.field}: {error.message}")
    return Failed(error.message)
