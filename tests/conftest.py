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
        missing = [program for program in marker.args if shutil.which(program) is None]
        if not missing:
            continue
        reason = f"not installed: {', '.join(missing)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
