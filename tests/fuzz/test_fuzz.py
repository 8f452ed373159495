"""A few thousand runs of each fuzz target, always the same; `make fuzz` goes on for hours."""

import os
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNS = {"packet": 15_000, "stream": 6_000, "upstream": 40_000}
SEED = 1
PACKETS = 40_000


def run(script, *arguments):
    ran = subprocess.run(
        [sys.executable, HERE / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said[said.find("Uncaught Python exception") - 100 :][:4000]
    return said


@pytest.mark.parametrize("target", RUNS)
def test_fuzzing_finds_nothing(target, tmp_path):
    if find_spec("atheris") is None:
        expected = platform.machine() == "x86_64" and sys.implementation.name == "cpython"
        if os.environ.get("CI") == "true" and expected:
            pytest.fail("atheris is not installed", pytrace=False)
        pytest.skip("atheris has no build for this platform")
    found = tmp_path / "found"
    found.mkdir()
    said = run(
        "run.py",
        target,
        f"-runs={RUNS[target]}",
        f"-seed={SEED}",
        f"-artifact_prefix={tmp_path}/",
        found,
        HERE / "corpus" / target,
    )
    assert "INITED" in said, "it began from the corpus"
    assert any(found.iterdir()), "it was guided by coverage"


def test_mutated_packets_do_no_harm_and_are_counted():
    said = run("ten_million.py", PACKETS, SEED)
    assert f"packets             {PACKETS:,}" in said
    assert "exceptions          0" in said


def test_the_corpus_is_what_the_seeds_say():
    """Every file is made by `seeds.py`: whoever adds a packet there writes it here."""
    listed = run_seeds()
    kept = {
        f"{path.parent.name}/{path.name}": path.read_bytes().hex()
        for path in (HERE / "corpus").glob("*/*")
    }
    assert kept == listed


def run_seeds():
    code = "import seeds\nfor target, label, data in seeds.all_seeds():\n"
    code += "    print(f'{target}/{label}', data.hex())"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split(" ") for line in ran.stdout.splitlines())
