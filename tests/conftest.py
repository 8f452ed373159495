"""What every test may rely on: the import path, and the marker for foreign programs."""

import os
import shutil
import sys
from pathlib import Path

import pytest

# The repository root is the package `callboard`; on the path it would let our `dns/` hide
# dnspython's `dns`, which is the independent reader of our answers.
_ROOT = str(Path(__file__).resolve().parent.parent)
sys.path[:] = [entry for entry in sys.path if entry not in ("", _ROOT)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose foreign programs are missing; in CI that is a failure instead."""
    for marker in item.iter_markers("foreign"):
        _require(*marker.args)


@pytest.fixture(scope="session")
def require():
    """`require("cc")`: the marker's work, for fixtures."""
    return _require


def _require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    reason = f"not installed: {', '.join(missing)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
