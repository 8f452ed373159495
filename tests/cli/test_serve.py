"""`callboard serve`, `version`, `completion` and the frame of every command."""

import re
import signal
import subprocess
import sys

import callboard as package
import pytest


def test_version_is_printed_without_a_server(callboard):
    ran = callboard("version", env={"CALLBOARD_SERVER": "127.0.0.1:1"})
    assert ran == (0, f"callboard {package.__version__}\n", "")


def test_help_lists_every_command_with_a_line(here):
    ran = here("--help")
    for verb in ("serve", "register", "deregister", "services", "instances", "lookup", "watch",
                 "kv", "members", "snapshot", "version", "completion"):  # fmt: skip
        assert re.search(rf"^  {verb} +\S", ran.out, re.MULTILINE)
        help_of_it = here(verb, "--help")
        assert help_of_it.code == 0
        assert help_of_it.out.startswith(f"Usage: callboard {verb} ")


def test_the_line_of_a_verb_in_the_help_is_the_first_of_its_own():
    from callboard.cli import CLIENT_VERBS, cli

    for verb, (_, line) in CLIENT_VERBS.items():
        command = cli.get_command(None, verb)
        assert command.name == verb
        assert command.get_short_help_str(100).split()[0] == line.split()[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["serve", "--cluster", "a=b"], "--cluster: 'b' is not HOST:PORT"),
        (["serve", "extra"], "unexpected extra argument"),
        (["serve", "--http", "8500"], "--http: '8500' is not HOST:PORT"),
        (["serve", "--zone", ""], "--zone: '' cannot be a zone"),
        (["serve", "--zone=-x-"], "--zone: '-x-' cannot be a zone"),
        (["serve", "--default-ttl", "-1"], "--default-ttl: '-1' is not a duration"),
        (["serve", "--http"], "Option '--http' requires an argument"),
        (["serve", "--config", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
        (["instances"], "Missing argument 'SERVICE'"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(here, arguments, told):
    ran = here(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("callboard: ")
    assert told in ran.err
    assert "--help" in ran.err


def test_a_wrong_file_names_the_file_and_the_key(callboard, tmp_path):
    file = tmp_path / "node.toml"
    file.write_text('http = "127.0.0.1:0"\ndns_ttl = 5\n')
    ran = callboard("serve", "--config", file)
    assert ran.code == 2
    assert f"{file}: dns_ttl: there is no such setting: did you mean dns-ttl?" in ran.err
    ran = callboard("serve", env={"CALLBOARD_CONFIG": str(file)})
    assert "did you mean dns-ttl?" in ran.err


def test_serve_takes_the_file_prints_its_listeners_and_ends_well(start, tmp_path):
    file = tmp_path / "node.toml"
    file.write_text(
        f'http = "127.0.0.1:0"\ndns = "127.0.0.1:0"\nname = "from-file"\n'
        f'data-dir = "{tmp_path}/data"\nzone = ["a.internal", "b.internal"]\n'
    )
    node = start("serve", "--config", str(file), env={"CALLBOARD_DNS": ""})
    lines = [node.stdout.readline(), node.stdout.readline()]
    url = re.fullmatch(r"http +(http://127\.0\.0\.1:\d+)\n", lines[0])[1]
    address = re.match(r"dns +(127\.0\.0\.1:\d+) \(udp, tcp\)", lines[1])[1]
    asked = [*(sys.executable, "-m", "callboard"), "members", "--server", url]
    assert "from-file" in subprocess.run(asked, capture_output=True, text=True).stdout
    asked = [*(sys.executable, "-m", "callboard"), "lookup", "--dns", address, "--type", "ANY"]
    for zone in ("a.internal", "b.internal"):
        assert subprocess.run([*asked, zone], capture_output=True).returncode == 0
    node.send_signal(signal.SIGINT)
    assert node.wait(20) == 0


def test_a_node_that_cannot_start_says_why_in_one_line(callboard, node, tmp_path):
    ran = callboard(
        *("serve", "--data-dir", tmp_path / "data", "--dns", "127.0.0.1:0"),
        *("--http", node.url.removeprefix("http://")),
    )
    assert ran.code == 1
    assert ran.out == ""
    [line] = [line for line in ran.err.splitlines() if line.startswith("callboard: ")]
    assert node.url.rpartition(":")[2] in line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_and_how_to_use_it(here, shell):
    ran = here("completion", shell)
    assert ran.code == 0
    assert "_CALLBOARD_COMPLETE" in ran.out
    assert f"callboard completion {shell}" in ran.out.splitlines()[-1]


@pytest.mark.foreign("bash")
def test_bash_takes_the_script_and_completes_with_it(callboard, tmp_path):
    (tmp_path / "callboard").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m callboard "$@"\n', encoding="utf-8"
    )
    (tmp_path / "callboard").chmod(0o755)
    script = tmp_path / "completion.bash"
    script.write_text(callboard("completion", "bash").out)
    ran = subprocess.run(
        ["bash", "--norc", "-c", f"""
            PATH={tmp_path}:$PATH; source {script}
            COMP_WORDS=(callboard inst) COMP_CWORD=1
            _callboard_completion callboard; echo "${{COMPREPLY[@]}}"
        """],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert ran.stdout.strip() == "instances"


def test_serve_and_version_load_neither_rich_nor_the_http_client():
    program = (
        "import sys; sys.argv = ['callboard', 'version']\n"
        "from callboard.cli import main\n"
        "try: main()\n"
        "except SystemExit: print({'aiohttp', 'rich', 'dnslib'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "set()"
