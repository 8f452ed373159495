"""How long the mass-expiry guard has held leases back, as each keeper leaves it to the next."""

from typing import Final

import msgspec

from .instance import DamagedValue

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(float)


def encode_held(held_s: float) -> bytes:
    return _encoder.encode(held_s)


def decode_held(value: bytes) -> float:
    """Raises `DamagedValue`."""
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise DamagedValue(str(error)) from error
