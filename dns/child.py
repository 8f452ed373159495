"""What every process of the front does at its start, and tells of itself."""

import ctypes
import logging
import os
import resource
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def begin(parent: int, title: str) -> None:
    """Log to stderr, leave signals to the node, and never outlive `parent`."""
    # Ctrl-C and service managers signal the whole group: the node decides when we stop.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    logging.basicConfig(format=f"%(asctime)s %(levelname)s {title}: %(message)s")
    _die_with(parent)


def rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _die_with(parent: int) -> None:
    """Not to be left behind, even when the registry process is killed outright."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)  # it died before we asked
