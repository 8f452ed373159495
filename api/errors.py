"""What the API says no with, and the JSON that says it."""

from typing import Final

import msgspec

from ..registry import (
    ChangeRefused,
    InvalidInput,
    RegistryError,
    StandsAlone,
    TooLarge,
    Unavailable,
    UnknownMember,
)

RETRY_AFTER_S: Final = 1
"""What a 503 tells clients to wait: an election or a restart is over by then."""


class ApiError(Exception):
    """One refused call: the HTTP status and the three parts of the error body.

    `close`: the connection is of no more use after it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.headers = headers or {}
        self.close = close


class ErrorDetail(msgspec.Struct, omit_defaults=True):
    """`field` is the path of what is wrong in the request, such as `ports.metrics.port`."""

    code: str
    message: str
    field: str | None = None


class ErrorBody(msgspec.Struct):
    error: ErrorDetail


def invalid(field: str, message: str) -> ApiError:
    return ApiError(400, "invalid_input", message, field)


def retry_later(code: str, message: str, *, close: bool = False) -> ApiError:
    """This node cannot now; soon, or another node, may."""
    return ApiError(503, code, message, headers={"Retry-After": str(RETRY_AFTER_S)}, close=close)


def unknown_instance(service: str, instance_id: str, *, renewing: bool = False) -> ApiError:
    """`renewing`: to register again is what helps then, and then only."""
    advice = " (any more): register it again" if renewing else ""
    return ApiError(404, "unknown_instance", f"{service}/{instance_id} is not registered{advice}")


def from_registry(error: RegistryError) -> ApiError:
    """The answer for what the registry raised."""
    match error:
        case TooLarge():
            return ApiError(413, "too_large", error.message, error.field)
        case InvalidInput():
            return invalid(error.field, error.message)
        case StandsAlone():
            return ApiError(409, "stands_alone", error.message)
        case ChangeRefused():
            return ApiError(409, "change_refused", error.message)
        case UnknownMember():
            return ApiError(404, "unknown_member", error.message)
        case Unavailable():
            return retry_later(error.code, error.message)
        case _:
            raise AssertionError(f"{error!r} has no HTTP status")


def body_of(error: ApiError) -> ErrorBody:
    return ErrorBody(ErrorDetail(error.code, error.message, error.field))
