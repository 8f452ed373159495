"""The value under which a node renews through the engine: the keys, and nothing else."""

from collections.abc import Sequence
from typing import Final

import msgspec

from .instance import DamagedValue

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[bytes])


def encode_renewed(keys: Sequence[bytes]) -> bytes:
    return _encoder.encode(keys)


def decode_renewed(value: bytes) -> list[bytes]:
    """Raises `DamagedValue`."""
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise DamagedValue(str(error)) from error
