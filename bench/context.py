"""What every suite is handed: how long to measure, and where to work."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from .board import Board
from .samples import Outcome


@dataclass
class Context:
    """`stack` stops whatever a suite started, also on Ctrl-C. `quick`: a try-out, no result."""

    work_dir: Path
    stack: contextlib.ExitStack
    outcome: Outcome
    seconds: float
    rounds: int
    quick: bool

    def board(self, name: str) -> Board:
        """A started node, empty. Raises `DidNotStart`."""
        return self.stack.enter_context(Board(self.work_dir, name))

    def doubt(self, text: str) -> None:
        """Something that makes the figures less than sure; each is said once."""
        if text not in self.outcome.doubts:
            self.outcome.doubts.append(text)

    def wait(self, seconds: float) -> None:
        """While a load runs beside us."""
        time.sleep(seconds)

    def say(self, text: str) -> None:
        print(f"  {text}", flush=True)
