"""The entrance: `callboard serve`, and the client verbs, imported when they are asked for.

Exit codes: 0 done, 1 the server said no, 2 wrong usage, 3 no server answered.
"""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from . import __version__, exit_codes
from .config import ConfigError, read_toml, resolve
from .settings import SETTINGS, Setting

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

CLIENT_VERBS: Final[Mapping[str, tuple[str, str]]] = {
    "register": ("register:register", "Register an instance of a service."),
    "deregister": ("register:deregister", "Take an instance off the board."),
    "services": ("board:services", "List the services."),
    "instances": ("board:instances", "List the instances of a service."),
    "lookup": ("lookup:lookup", "Ask the node's DNS."),
    "watch": ("watch:watch", "Follow what is registered, expires and goes."),
    "kv": ("kv:kv", "Read and write the key-value store."),
    "members": ("members:members", "List the nodes of the cluster."),
    "snapshot": ("snapshot:snapshot", "Save or restore everything that is stored."),
}
"""Name, where it is, and its line in `--help`, so that the list needs no imports."""


class Commands(click.Group):
    """A group that imports a client verb only when it runs: `serve` needs no HTTP client."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *CLIENT_VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in CLIENT_VERBS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = CLIENT_VERBS[cmd_name][0].partition(":")
        loaded = importlib.import_module(f".clients.commands.{module}", __package__)
        command = getattr(loaded, attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, command.get_short_help_str(70)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows + [(name, line) for name, (_, line) in CLIENT_VERBS.items()])


@click.group(cls=Commands, context_settings=CONTEXT)
def cli() -> None:
    """A service registry and authoritative DNS server.

    Start a node with `callboard serve`; the other commands talk to one.
    """


def _serve_option(setting: Setting) -> click.Option:
    default = "" if setting.default is None else f"; default {setting.default}"
    return click.Option(
        [f"--{setting.flag}", setting.attribute],
        metavar=setting.metavar or None,
        multiple=setting.repeats,
        is_flag=setting.switch or None,  # False would make the value one that may be left out
        help=f"{setting.help}  [{setting.variable}{default}]",
    )


def _serve(config: str | None, **given: str | tuple[str, ...] | bool | None) -> int:
    """Run a node: the registry, its HTTP API and DNS.

    Every flag can stand in the TOML file of --config under its own name, and in the
    environment variable shown.
    """
    try:
        file = read_toml(config) if config else {}
        settings = resolve(_texts(given), os.environ, file, config or "")
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    from . import node

    try:
        return node.run(settings)
    except node.StartError as error:
        _fail(str(error), exit_codes.REFUSED)


def _texts(given: Mapping[str, str | tuple[str, ...] | bool | None]) -> dict[str, Sequence[str]]:
    texts: dict[str, Sequence[str]] = {}
    for setting in SETTINGS:
        value = given[setting.attribute]
        if isinstance(value, bool):
            if value:
                texts[setting.flag] = ["true"]
        elif value is not None:
            texts[setting.flag] = value if isinstance(value, tuple) else [value]
    return texts


cli.add_command(
    click.Command(
        "serve",
        callback=_serve,
        help=_serve.__doc__,
        params=[
            click.Option(
                ["--config"],
                metavar="FILE",
                envvar="CALLBOARD_CONFIG",
                help="A TOML file of these settings.  [CALLBOARD_CONFIG]",
            ),
            *map(_serve_option, SETTINGS),
        ],
    )
)


@cli.command()
@click.option("--data-dir", required=True, metavar="DIR", help="Of a node that is stopped.")
@click.option("--yes", is_flag=True, help="Do it; without it, only say what would be done.")
def recover(data_dir: str, yes: bool) -> None:
    """Make a cluster of one node alone, when its majority is lost for good.

    What the other nodes had agreed on without this one is gone, so take the node with the
    newest data, and make sure that none of the others runs.
    """
    if not yes:
        click.echo(
            f"{data_dir} would become a cluster of its one node, and forget all others. What they"
            " agreed on without it would be lost. Stop all nodes, and say --yes to do it."
        )
        return
    import asyncio

    from .registry.engine import EngineError
    from .registry.engine.etcd import recover as recover_member

    try:
        alone, revision = asyncio.run(recover_member(data_dir))
    except EngineError as error:
        _fail(str(error), exit_codes.REFUSED)
    [(name, address)] = alone.members.items()
    click.echo(
        f"{name!r} is a cluster of its own, with the board as of index {revision}.\n"
        f"Start it with --cluster {name}={address}; then, for each other node, run\n"
        "`callboard members add NAME HOST:PORT` and start it on an empty data directory with\n"
        "--cluster holding all nodes."
    )


@cli.command()
def version() -> None:
    """Print the version of this program."""
    click.echo(f"callboard {__version__}")


@cli.group()
def tls() -> None:
    """Make certificates for the nodes."""


@tls.command()
@click.option(
    "--dir", "directory", default="./callboard-tls", metavar="DIR", help="Default ./callboard-tls."
)
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="NAME[=HOST,...]",
    help="A node and the names and IP addresses it is reached by; may be given more than once.",
)
def init(directory: str, nodes: tuple[str, ...]) -> None:
    """Make a CA, and a certificate for each node; a CA that is there is used, never replaced."""
    from .certificates import Authority, CertificateError, parse_node

    try:
        named = [parse_node(node) for node in nodes]
    except ValueError as error:
        raise click.UsageError(f"--node: {error}") from error
    try:
        authority = Authority(Path(directory))
        click.echo(f"{'made' if authority.is_new else 'using'} the CA {authority.cert_path}")
        for node in named:
            cert, key = authority.add_node(node)
            click.echo(f"made {cert} and {key}; on {node.name}:")
            click.echo(f"  --http-cert {cert} --http-key {key}")
            click.echo(f"  --peer-ca {authority.cert_path} --peer-cert {cert} --peer-key {key}")
    except CertificateError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"give each node its own two files and {authority.cert_path};")
    click.echo(f"keep {authority.key_path} where no node can read it")
    click.echo(f"clients then need CALLBOARD_CA={authority.cert_path} and https:// URLs")


COMPLETION_HINTS: Final = {
    "bash": "add to ~/.bashrc:  source <(callboard completion bash)",
    "zsh": "add to ~/.zshrc after compinit:  source <(callboard completion zsh)",
    "fish": "run:  callboard completion fish > ~/.config/fish/completions/callboard.fish",
}


@cli.command()
@click.argument("shell", type=click.Choice(tuple(COMPLETION_HINTS)))
def completion(shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import ShellComplete, get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    # `source` of click's bash class starts bash to check its version; the script needs no shell.
    script = ShellComplete.source.__get__(found(cli, {}, "callboard", "_CALLBOARD_COMPLETE"))()
    # zsh wants `#compdef` to be the first line, so the hint stands last.
    click.echo(f"{script.strip()}\n# To use it, {COMPLETION_HINTS[shell]}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit; whatever goes wrong is one line on standard error."""
    try:
        code: Any = cli.main(
            args=None if arguments is None else list(arguments),
            prog_name="callboard",
            standalone_mode=False,
        )
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(exit_codes.USAGE)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "callboard"
        _fail(f"{_one_line(error.format_message())} (see {command} --help)", exit_codes.USAGE)
    except click.ClickException as error:
        _fail(_one_line(error.format_message()), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(exit_codes.INTERRUPTED)
    except BrokenPipeError:
        _leave_broken_pipe()
    sys.exit(code if isinstance(code, int) else 0)


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"callboard: {message}", err=True)
    sys.exit(code)


def _leave_broken_pipe() -> NoReturn:
    """The reader went away (`| head`): end quietly, as click does while a command runs.

    What is still buffered would raise again when Python flushes at exit, hence /dev/null.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
