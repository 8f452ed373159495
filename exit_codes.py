"""What a `callboard` ends with."""

from typing import Final

REFUSED: Final = 1
"""The server, or what it was given to start with, said no."""
USAGE: Final = 2
NO_SERVER: Final = 3
"""None of the servers answered."""
FAILED: Final = 70
"""A defect of ours (EX_SOFTWARE of sysexits): whoever supervises the node starts it again."""
REMOVED: Final = 78
"""Not a member any more (EX_CONFIG of sysexits): starting it again would change nothing."""
INTERRUPTED: Final = 130
"""By SIGINT, as shells say it."""
