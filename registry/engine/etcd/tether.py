"""Runs a program that dies with its parent: `python tether.py PARENT_PID PROGRAM ARGUMENT...`.

A script of its own, without imports of ours, because it is started by its path: loading the
package would take ten times as long as what it does.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *command = sys.argv[1:]
    # A terminal signals the whole group: the node decides when its child stops.
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(0)  # it died before we asked
    os.execv(command[0], command)  # noqa: S606  # replaces this process, as is the point


if __name__ == "__main__":
    main()
