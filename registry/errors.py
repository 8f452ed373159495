"""What the registry says no with. The HTTP layer maps each to one status and code."""


class RegistryError(Exception):
    """The root: `message` is for the person who made the call."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(RegistryError):
    """The caller's value is wrong; `field` is its path in the request."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TooLarge(InvalidInput):
    """A registration or a KV value over its limit."""


class Unavailable(RegistryError):
    """Not now: `code` is one of `no_quorum`, `outcome_unknown`, `too_stale`, `shutting_down`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StandsAlone(RegistryError):
    """There is no cluster, and no other node."""


class ChangeRefused(RegistryError):
    """The members stay as they are: another change is under way, or this one would do harm."""


class UnknownMember(RegistryError):
    """There is no member of that name."""
