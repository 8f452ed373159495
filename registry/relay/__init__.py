"""Renewals passed on to the node that keeps the leases: many to a message, nothing written."""

from .listener import CannotListen, RelayListener
from .passing import Passing, Unreached

__all__ = ["CannotListen", "Passing", "RelayListener", "Unreached"]
