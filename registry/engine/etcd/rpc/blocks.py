"""Header blocks of gRPC, in the compression of RFC 7541.

They stand for themselves, because neither side keeps a table of those before: the same block is
made, and read, once for many calls.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import hpack

_BLOCKS_MAX: Final = 256
"""Remembered. Those of calls differ by method and token, those of answers by what went wrong."""
_NO_TABLE: Final = b"\x20"
"""Before every block: a server that wants no table either must be told that it has shrunk (RFC
7541, 4.2), and blocks are the same for all servers."""


@lru_cache(maxsize=_BLOCKS_MAX)
def headers(scheme: str, authority: str, path: str, metadata: tuple[tuple[str, str], ...]) -> bytes:
    """The block that begins a call."""
    fields = (
        (":method", "POST"),
        (":scheme", scheme),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *metadata,
    )
    literals = [hpack.NeverIndexedHeaderTuple(*field) for field in fields]
    return _NO_TABLE + hpack.Encoder().encode(literals)


@lru_cache(maxsize=_BLOCKS_MAX)
def read_headers(block: bytes) -> Mapping[str, str]:
    """What `block` says. Raises `hpack.HPACKError`."""
    decoder = hpack.Decoder()
    decoder.header_table_size = decoder.max_allowed_table_size = 0
    fields = decoder.decode(block)
    return MappingProxyType({str(name): str(value) for name, value in fields})
