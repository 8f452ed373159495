"""Durations as people write them: `500ms`, `15s`, `2m`, `1h`, or a plain number of seconds."""

import re
from typing import Final

DURATION_S_MAX: Final = 365 * 24 * 3600.0
"""A year: whoever writes more has mistaken the unit (or means "never", which is 0)."""

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|)", re.ASCII)


def parse_duration_s(value: str | float) -> float:
    """Seconds. Raises `ValueError` that says what to write instead."""
    found = _DURATION.fullmatch(value.strip() if isinstance(value, str) else f"{value:.9f}")
    if found is None:
        raise ValueError(f"{value!r} is not a duration: write 500ms, 15s, 2m, 1h or seconds")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > DURATION_S_MAX:
        raise ValueError(f"{value!r} is longer than a year: write a shorter duration")
    return seconds
