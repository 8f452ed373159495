"""Where the secrets of server cookies come from: a file that several servers share, or chance."""

import os
import re

from .cookies import SECRET_BYTES
from .errors import DnsFrontError

_HEX = re.compile(rf"[0-9A-Fa-f]{{{2 * SECRET_BYTES}}}")
_GROUP_AND_OTHERS = 0o077


class BadCookieSecret(DnsFrontError):
    """The file cannot be used; the text never quotes what stands in it."""


def read_secrets(path: str | None) -> tuple[bytes, ...]:
    """The secrets in a file, one a line in hex, the one in use first; a random one without.

    Raises `BadCookieSecret`.
    """
    if path is None:
        return (os.urandom(SECRET_BYTES),)
    try:
        with open(path, encoding="ascii") as file:
            if os.fstat(file.fileno()).st_mode & _GROUP_AND_OTHERS:
                raise BadCookieSecret(f"{path}: others than its owner may use it: chmod 600 {path}")
            lines = file.read().split()
    except OSError as error:
        raise BadCookieSecret(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        lines = []
    if not lines or not all(_HEX.fullmatch(line) for line in lines):
        digits = 2 * SECRET_BYTES
        raise BadCookieSecret(
            f"{path}: holds no cookie secrets: write {digits} hex digits a line, the newest first"
        )
    return tuple(bytes.fromhex(line) for line in lines)
