"""What every process of the front does at its start, and tells of itself."""

import ctypes
import logging
import os
import resource
import signal
import stat
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def begin(title: str) -> None:
    """Log to stderr, and leave signals to the node."""
    # Ctrl-C and service managers signal the whole group: the node decides when we stop.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    logging.basicConfig(format=f"%(asctime)s %(levelname)s {title}: %(message)s")


def let_go_of_pipes() -> None:
    """Log nowhere, where stderr is a pipe: its reader waits for an end that the node has made."""
    if stat.S_ISFIFO(os.fstat(sys.stderr.fileno()).st_mode):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


def rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def die_with(parent: int) -> None:
    """Not to be left behind, even when the registry process is killed outright."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)  # it died before we asked
