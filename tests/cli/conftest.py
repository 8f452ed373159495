"""The command line as its users start it: a process, its output, its exit code."""

import os
import re
import subprocess
import sys
from typing import NamedTuple

import pytest
from callboard.cli import main

CALLBOARD = (sys.executable, "-m", "callboard")


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class RunningNode(NamedTuple):
    url: str
    dns: str


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """One node for all verbs: each test takes names of its own."""
    data_dir = tmp_path_factory.mktemp("node") / "data"
    process = subprocess.Popen(
        [
            *(*CALLBOARD, "serve", "--name", "node-a", "--data-dir", str(data_dir)),
            *("--http", "127.0.0.1:0", "--dns", "127.0.0.1:0"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    lines = [process.stdout.readline() for _ in range(2)]
    found = re.search(r"http\s+(\S+).*dns\s+(\S+)", " ".join(lines), re.DOTALL)
    yield RunningNode(found[1], found[2])
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.fixture
def environment(node):
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("CALLBOARD_")},
        "CALLBOARD_SERVER": node.url,
        "CALLBOARD_DNS": node.dns,
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def callboard(environment):
    """Run one command to its end."""

    def run(*arguments, stdin=b"", env=None, binary=False):
        ran = subprocess.run(
            [*CALLBOARD, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env={**environment, **(env or {})},
            timeout=60,
        )
        assert b"Traceback" not in ran.stderr, ran.stderr.decode()
        out = ran.stdout if binary else ran.stdout.decode()
        return Ran(ran.returncode, out, ran.stderr.decode())

    return run


@pytest.fixture
def here(environment, monkeypatch, capsys):
    """The same in this process: for all that does not need to show that a process does it."""
    for key in [key for key in os.environ if key.startswith("CALLBOARD_")]:
        monkeypatch.delenv(key)

    def run(*arguments, env=None):
        for key in ("CALLBOARD_SERVER", "CALLBOARD_DNS"):
            monkeypatch.setenv(key, (env or {}).get(key, environment[key]))
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ran(ended.value.code, printed.out, printed.err)

    return run


@pytest.fixture
def start(environment):
    """Start a command that goes on; whatever still runs at the end is killed."""
    started = []

    def run(*arguments, env=None):
        process = subprocess.Popen(
            [*CALLBOARD, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, **(env or {})},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
