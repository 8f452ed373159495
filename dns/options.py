"""EDNS options: what of a client's is answered, and with what."""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from .cookies import ServerCookies, is_well_formed

NSID: Final = 3
COOKIE: Final = 10
TCP_KEEPALIVE: Final = 11

_OPTION: Final = struct.Struct("!HH")


class OptionsReply(NamedTuple):
    """`data` goes into our OPT; `vouched` says that a server cookie of ours came back."""

    data: bytes
    vouched: bool = False
    has_cookie: bool = False


class EdnsOptions:
    """Answers cookies, NSID (RFC 5001) and keepalive over TCP (RFC 7828); every other option is
    ignored (RFC 6891 section 6.1.2). `nsid` empty: not told."""

    def __init__(
        self, cookies: ServerCookies | None = None, nsid: bytes = b"", idle_s: float = 0.0
    ) -> None:
        self._cookies = cookies
        self._nsid = _packed(NSID, nsid) if nsid else b""
        self._keepalive = _packed(TCP_KEEPALIVE, int(idle_s * 10).to_bytes(2, "big"))

    @classmethod
    def configured(
        cls, secrets: Sequence[bytes], clock: Callable[[], float], nsid: bytes, idle_s: float
    ) -> "EdnsOptions":
        """Without secrets cookies are ignored."""
        return cls(ServerCookies(secrets, clock) if secrets else None, nsid, idle_s)

    def reply(self, options: bytes, address: bytes, *, tcp: bool) -> OptionsReply | None:
        """For the options of a query from a packed address; None means FORMERR."""
        cookie = b""
        vouched = False
        parts: dict[int, bytes] = {}
        for code, value in _read(options):
            if code in parts:
                continue  # the first one counts
            if code == COOKIE and self._cookies is not None:
                if not is_well_formed(value):
                    return None
                cookie, vouched = self._cookies.reply(value, address)
                parts[code] = _packed(COOKIE, cookie)
            elif code == NSID:
                parts[code] = self._nsid
            elif code == TCP_KEEPALIVE and tcp and not value:
                parts[code] = self._keepalive
        return OptionsReply(b"".join(parts.values()), vouched, bool(cookie))


def option_of(options: bytes, wanted: int) -> bytes:
    """The first option of the code `wanted`, with its head; empty if there is none."""
    return next((_packed(code, value) for code, value in _read(options) if code == wanted), b"")


def _packed(code: int, value: bytes) -> bytes:
    return _OPTION.pack(code, len(value)) + value


def _read(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Codes and values; the parser has checked the lengths."""
    offset = 0
    while offset < len(options):
        code, size = _OPTION.unpack_from(options, offset)
        offset += 4 + size
        yield code, options[offset - size : offset]
