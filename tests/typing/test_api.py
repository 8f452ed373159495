"""The public types, as users' type checkers see them."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).with_name("api.py")
ROOT = EXAMPLES.parent.parent.parent


def test_mypy_accepts_the_examples_of_use_under_strict(tmp_path):
    """Through a link named `callboard`, as an installed package would be found."""
    (tmp_path / "callboard").symlink_to(ROOT)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file", ""),
            *("--cache-dir", str(ROOT / ".mypy_cache" / "api"), str(EXAMPLES)),
        ],
        cwd=tmp_path,
        env={"MYPYPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert "Success: no issues found" in ran.stdout, ran.stdout + ran.stderr
