"""What is installed is what is in the tree: the wheel alone runs a node."""

import json
import os
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTRA = {"tests", "bench"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of what git tracks, so that leftovers of the tree cannot help."""
    source = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in tracked.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(out), "."]
    subprocess.run(command, cwd=source, check=True, timeout=120)
    [built] = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_of_the_tree(wheel):
    modules = {
        path.relative_to(ROOT).as_posix()
        for part in ("", "api", "clients", "dns", "registry")
        for path in (ROOT.glob("*.py") if not part else (ROOT / part).rglob("*.py"))
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name.removeprefix("callboard/") for name in archive.namelist()}
    assert modules
    assert modules <= held
    assert "py.typed" in held
    assert not {name.split("/")[0] for name in held} & EXTRA


@pytest.mark.timeout(300)
def test_a_node_runs_from_the_wheel_in_an_empty_environment(wheel, tmp_path):
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, timeout=280)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    node = subprocess.Popen(
        [
            *(environment / "bin" / "callboard", "serve", "--data-dir", tmp_path / "data"),
            *("--http", "127.0.0.1:0", "--dns", "127.0.0.1:0"),
        ],
        cwd=tmp_path,
        env=plain,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = next(line for line in node.stdout if line.startswith("http")).split()[1]
        with urllib.request.urlopen(f"{url}/v1/status", timeout=10) as answer:
            assert json.load(answer)["services"] == 0
        with urllib.request.urlopen(f"{url}/docs", timeout=10) as answer:
            assert b"<html" in answer.read()
    finally:
        node.terminate()
        node.communicate(timeout=30)
    assert node.returncode == 0
