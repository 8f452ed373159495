"""Every command block of the README is run, and what it promises is compared."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND_S = 30
STARTS_NODE = "make run"


def console_blocks(text):
    """[(command, promised lines)] in the order of the README."""
    steps = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *promised = step.rstrip("\n").split("\n")
            steps.append((command, promised))
    return steps


def words(lines):
    """Lines as words: how columns are spaced is not promised."""
    return [line.split() for line in lines]


def same(said, promised):
    """Whether `said` is what was promised."""
    return words(said) == words(promised)


@pytest.fixture(scope="module")
def shell_environment(tmp_path_factory):
    data = tmp_path_factory.mktemp("readme") / "data"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "CALLBOARD_DATA_DIR": str(data), "PATH": path, "LC_ALL": "C.UTF-8"}


def run_node(environment, promised):
    """Start what `make run` starts; returns it when every promised line was said."""
    node = subprocess.Popen(
        ["make", "--silent", "run"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    said = []
    while not all(words([line])[0] in words(said) for line in promised):
        line = node.stdout.readline()
        assert line, f"the node ended after saying {said}"
        said.append(line)
    return node


@pytest.mark.foreign("dig", "curl", "jq", "make")
@pytest.mark.timeout(240)
def test_every_command_of_the_readme_does_what_it_says(shell_environment):
    steps = console_blocks((ROOT / "README.md").read_text())
    assert steps[0][0] == STARTS_NODE
    node = run_node(shell_environment, steps[0][1])
    try:
        for command, promised in steps[1:]:
            ran = subprocess.run(
                ["bash", "-c", command],
                cwd=ROOT,
                env=shell_environment,
                capture_output=True,
                text=True,
                timeout=COMMAND_S,
            )
            assert same(ran.stdout.splitlines(), promised), (command, ran.stdout, ran.stderr)
    finally:
        started_s = time.monotonic()
        os.killpg(node.pid, 15)
        node.communicate(timeout=COMMAND_S)
        assert time.monotonic() - started_s < COMMAND_S


def test_a_broken_promise_would_be_noticed():
    steps = console_blocks("```console\n$ one\na  b\n$ two\n```\n")
    assert steps == [("one", ["a  b"]), ("two", [])]
    assert same(["a b"], ["a  b"])
    assert not same(["a c"], ["a  b"])
    assert not same(["a b", "more"], ["a  b"])
