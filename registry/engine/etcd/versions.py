"""Which versions of etcd the board is trusted to."""

import re
from typing import Final

from ..seam import CannotStart

OLDEST: Final = (3, 4, 0)
"""The first with learners."""
CORRUPTING: Final = frozenset({(3, 5, 0), (3, 5, 1), (3, 5, 2)})
"""They lose acknowledged writes when a member is killed at the wrong moment."""


def check_version(version: str) -> None:
    """Raises `CannotStart` when `version`, as etcd tells it, is not to be trusted."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        raise CannotStart(f"this is no etcd with a version that is known: {version!r}")
    numbers = tuple(int(number) for number in found.groups())
    if numbers in CORRUPTING:
        raise CannotStart(f"etcd {version} corrupts data when it is killed: install 3.5.3 or newer")
    if numbers < OLDEST:
        raise CannotStart(f"etcd {version} is too old: install 3.4 or newer")
