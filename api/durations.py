"""Times in requests: seconds as a number, or a string with a unit."""

import math
import re
from typing import Final

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h)?", re.ASCII)


def parse_duration_s(value: float | str) -> float:
    """Seconds. Raises `ValueError` that says what to write."""
    if isinstance(value, str):
        found = _DURATION.fullmatch(value)
        if found is None:
            raise ValueError(f'{value[:40]!r} is no duration: write 15, "500ms", "15s" or "2m"')
        return float(found[1]) * _UNITS_S[found[2] or "s"]
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value} is no duration: write a number of seconds from 0 on")
    return float(value)
