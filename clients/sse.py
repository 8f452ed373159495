"""The event stream of server-sent events: bytes in, messages out (WHATWG HTML section 9.2.6)."""

from typing import Final, NamedTuple

MESSAGE_BYTES_MAX: Final = 256 * 1024 * 1024
"""A snapshot of 100,000 instances is about 40 MB. Beyond this the peer is not one of ours."""


class Message(NamedTuple):
    """One dispatched event; `id` is the last one that the stream named, `None` before any."""

    event: str
    data: str
    id: str | None


class EventTooLarge(ValueError):
    """The peer sends without ever ending an event."""


class EventStream:
    """Feed it the body as it arrives. Reusable for one connection only."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._scanned = 0
        self._skip_lf = False
        self._first = True
        self._event = ""
        self._data: list[str] = []
        self._data_chars = 0
        self._id: str | None = None

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that `chunk` completes. Raises `EventTooLarge`."""
        self._rest += chunk
        if len(self._rest) + self._data_chars > MESSAGE_BYTES_MAX:
            raise EventTooLarge(f"an event is longer than {MESSAGE_BYTES_MAX} bytes")
        messages = []
        for line in self._lines():
            message = self._line(line)
            if message is not None:
                messages.append(message)
        return messages

    def _lines(self) -> list[str]:
        """Cut off the whole lines: CR, LF and CRLF each end one, also across chunks."""
        rest, lines, start = self._rest, [], 0
        if self._skip_lf and rest:
            start = 1 if rest[0] == 0x0A else 0
            self._skip_lf = False
        position = max(start, self._scanned)
        while (end := _line_end(rest, position)) >= 0:
            lines.append(self._text(rest[start:end]))
            start = end + 1
            if rest[end] == 0x0D:
                if start == len(rest):
                    self._skip_lf = True
                elif rest[start] == 0x0A:
                    start += 1
            position = start
        del rest[:start]
        self._scanned = len(rest)
        return lines

    def _text(self, line: bytearray) -> str:
        text = line.decode("utf-8", "replace")
        if self._first:
            self._first = False
            return text.removeprefix("\ufeff")
        return text

    def _line(self, line: str) -> Message | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
                self._data_chars += len(value) + 1
            case "id" if "\0" not in value:
                self._id = value
            case _:
                pass  # a comment (no field name) keeps the connection alive; the rest is not ours
        return None

    def _dispatch(self) -> Message | None:
        event, data = self._event or "message", self._data
        self._event, self._data, self._data_chars = "", [], 0
        return Message(event, "\n".join(data), self._id) if data else None


def _line_end(buffer: bytearray, start: int) -> int:
    lf = buffer.find(b"\n", start)
    cr = buffer.find(b"\r", start, lf if lf >= 0 else len(buffer))
    return cr if cr >= 0 else lf
