"""DNS messages in a byte stream: each after its length in two bytes (RFC 1035 section 4.2.2)."""

from .wire import HEADER_BYTES


class BadFrame(Exception):
    """A length that no message has: the stream is not DNS, or not in step any more."""


class Frames:
    """Bytes in, whole messages out, in order."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_partial(self) -> bool:
        """Whether there is more than nothing and less than a message."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def rest(self) -> bytes:
        """What was fed and not taken."""
        return bytes(self._buffer)

    def next(self) -> bytes | None:
        """The next message; None when it is not whole yet. Raises `BadFrame`."""
        if len(self._buffer) < 2:
            return None
        size = int.from_bytes(self._buffer[:2], "big")
        if size < HEADER_BYTES:
            raise BadFrame(size)
        end = 2 + size
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[2:end])
        del self._buffer[:end]
        return message


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message
