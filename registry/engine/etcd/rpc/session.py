"""gRPC calls over one HTTP/2 connection, as its client: bytes in, events out.

It is what gRPC needs of RFC 9113 between frames and header blocks; the latter are hpack's. h2,
which knows all of it, takes no frames after a GOAWAY: of calls that are under way while a server
stops in order nobody would know whether they were done. Google's own library gives each message
through threads of its own to the loop, which costs half of what a lone write costs a node.
"""

import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

import hpack

from . import frames
from .blocks import read_headers
from .frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    ErrorCode,
    Frame,
    FrameError,
    Kind,
    Setting,
    read_frames,
)
from .status import StatusCode

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW_BYTES_DEFAULT: Final = 65_535
_WINDOW_BYTES_MAX: Final = 2**31 - 1
_WINDOW_BYTES: Final = 16 * 1024 * 1024
"""Of what the server may send before we have read: a page of a board that is loaded, or many
changes at once. The reader is always at it, so that this is no backlog that stays."""
_BLOCK_BYTES_MAX: Final = 65_536
"""Of response headers: they hold a status and a sentence. More is no gRPC."""
_CALL_MAX: Final = 2**31 - 1
"""Streams are never numbered anew: at a thousand calls a second this is reached in days."""
_CODE_DIGITS_MAX: Final = 9
"""Of a status of gRPC, of which there are seventeen; `int` refuses those of thousands."""
_PINGS_MAX: Final = 16
"""Unanswered: who sends more wants to be answered now."""
_MESSAGE_HEADER: Final = struct.Struct(">BI")
"""Whether it is compressed, and its length."""
_UNAVAILABLE_HTTP: Final = frozenset({"429", "502", "503", "504"})


class SessionError(Exception):
    """The server does not speak HTTP/2 as it should: there is no use in the connection."""


class Message(NamedTuple):
    """One of the answers to `call`."""

    call: int
    payload: bytes


class Ended(NamedTuple):
    """`call` has come to its end; `code` is not always one that gRPC knows."""

    call: int
    code: int
    details: str


class Unprocessed(NamedTuple):
    """The server has not begun `call`, and will not."""

    call: int


Event = Message | Ended | Unprocessed


class _Call:
    __slots__ = (
        "consumed_bytes",
        "ends",
        "http_status",
        "received",
        "unsent",
        "wanted_bytes",
        "window_bytes",
    )

    def __init__(self, unsent: bytes, window_bytes: int, *, ends: bool) -> None:
        self.unsent: memoryview | None = memoryview(unsent)
        self.ends = ends
        """Whether nothing will follow `unsent`."""
        self.window_bytes = window_bytes
        """What the server takes of it now."""
        self.received = bytearray()
        """The beginning of a message whose end has not come."""
        self.wanted_bytes = 0
        """`received` is read on when it has so many."""
        self.consumed_bytes = 0
        """Since the server was last told to send more."""
        self.http_status = ""
        """When it says that this is no answer of gRPC."""


class _Block(NamedTuple):
    """Headers whose end has not come."""

    call: int
    ends: bool
    content: bytearray


class Session:
    """`ready` once the server has said something; `leaving` when it takes no more calls."""

    def __init__(self) -> None:
        self.ready = False
        self.leaving = False
        self._calls: dict[int, _Call] = {}
        self._next_call = 1
        self._calls_max = _CALL_MAX
        self._unread = b""
        self._block: _Block | None = None
        self._window_bytes = _WINDOW_BYTES_DEFAULT
        self._call_window_bytes = _WINDOW_BYTES_DEFAULT
        self._consumed_bytes = 0
        self._waiting: deque[int] = deque()
        """Calls that have something to send and no window."""
        ours = {
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
        }
        self.pings: list[bytes] = []
        """Of the server's, those that have not been answered."""
        self._out = [
            _PREFACE,
            frames.settings(ours),
            frames.window_update(0, _WINDOW_BYTES - _WINDOW_BYTES_DEFAULT),
        ]
        self._readers: dict[int, Callable[[Frame, list[Event]], None]] = {
            Kind.DATA: self._read_data,
            Kind.HEADERS: self._read_headers,
            Kind.CONTINUATION: self._read_continuation,
            Kind.RST_STREAM: self._read_reset,
            Kind.SETTINGS: self._read_settings,
            Kind.PING: self._read_ping,
            Kind.GOAWAY: self._read_go_away,
            Kind.WINDOW_UPDATE: self._read_window,
        }

    def begin(self, block: bytes, message: bytes, *, ends: bool) -> int:
        """A call with `headers(...)` and one message; `ends` when no other will follow."""
        assert self.ready
        assert not self.leaving
        number, self._next_call = self._next_call, self._next_call + 2
        framed = _MESSAGE_HEADER.pack(0, len(message)) + message
        self._calls[number] = _Call(framed, self._call_window_bytes, ends=ends)
        if self._next_call > _CALL_MAX or len(self._calls) >= self._calls_max:
            self.leaving = True
        self._out.append(frames.headers(number, block))
        self._send_body(number)
        return number

    def reset(self, call: int) -> None:
        """Nothing more is wanted of `call`, if it is under way at all."""
        if self._calls.pop(call, None) is not None:
            self._out.append(frames.reset(call))

    def ping(self) -> None:
        """The server answers, whatever else it does."""
        self._out.append(frames.frame(Kind.PING, 0, bytes(8)))

    def answer_pings(self) -> None:
        for payload in self.pings:
            self._out.append(frames.frame(Kind.PING, 0, payload, ACK))
        self.pings.clear()

    def take(self) -> bytes:
        """What is to be sent."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def receive(self, data: bytes) -> list[Event]:
        """What `data` says. Raises `SessionError`, after which there is no use in the session."""
        events: list[Event] = []
        try:
            whole, self._unread = read_frames(self._unread + data if self._unread else data)
            for frame in whole:
                self._read(frame, events)
        except (FrameError, hpack.HPACKError) as error:
            raise SessionError(str(error)) from error
        return events

    def _read(self, frame: Frame, events: list[Event]) -> None:
        if self._block is not None and frame.kind != Kind.CONTINUATION:
            raise SessionError("a header block was not brought to its end")
        if not self.ready and frame.kind != Kind.SETTINGS:
            raise SessionError("it does not begin with its settings")
        read = self._readers.get(frame.kind)
        if read is not None:  # others do not concern us, or are not known yet (5.5)
            read(frame, events)

    def _read_data(self, frame: Frame, events: list[Event]) -> None:
        number, size_bytes = frame.stream, len(frame.payload)
        self._consumed_bytes += size_bytes
        if self._consumed_bytes >= _WINDOW_BYTES // 2:
            self._out.append(frames.window_update(0, self._consumed_bytes))
            self._consumed_bytes = 0
        call = self._calls.get(number)
        if call is None:
            return  # it was on its way when the call was reset
        call.consumed_bytes += size_bytes
        if call.consumed_bytes >= _WINDOW_BYTES // 2:
            self._out.append(frames.window_update(number, call.consumed_bytes))
            call.consumed_bytes = 0
        if not call.http_status:
            self._read_messages(number, call, frame.content, events)
        if frame.flags & END_STREAM:
            self._end(number, {}, events)

    def _read_messages(self, number: int, call: _Call, data: bytes, events: list[Event]) -> None:
        if call.received:
            call.received += data
            if len(call.received) < call.wanted_bytes:
                return
            data = bytes(call.received)
            call.received.clear()
        at, call.wanted_bytes = 0, _MESSAGE_HEADER.size
        while at + _MESSAGE_HEADER.size <= len(data):
            compressed, length = _MESSAGE_HEADER.unpack_from(data, at)
            if compressed:
                raise SessionError("a compressed message, which nobody has asked for")
            payload_at = at + _MESSAGE_HEADER.size
            if payload_at + length > len(data):
                call.wanted_bytes = _MESSAGE_HEADER.size + length
                break
            at = payload_at + length
            events.append(Message(number, data[payload_at:at]))
        if at < len(data):
            call.received += data[at:]

    def _read_headers(self, frame: Frame, events: list[Event]) -> None:
        ends = bool(frame.flags & END_STREAM)
        self._read_block(frame, _Block(frame.stream, ends, bytearray()), frame.content, events)

    def _read_continuation(self, frame: Frame, events: list[Event]) -> None:
        if self._block is None or self._block.call != frame.stream:
            raise SessionError("a header block goes on that has not begun")
        self._read_block(frame, self._block, frame.payload, events)

    def _read_block(self, frame: Frame, block: _Block, part: bytes, events: list[Event]) -> None:
        block.content.extend(part)
        if len(block.content) > _BLOCK_BYTES_MAX:
            raise SessionError("headers without an end")
        if not frame.flags & END_HEADERS:
            self._block = block
            return
        self._block = None
        fields = read_headers(bytes(block.content))
        call = self._calls.get(block.call)
        if call is None:
            return
        status = fields.get(":status", "200")
        if status != "200" and not status.startswith("1"):
            call.http_status = status
        if block.ends:
            self._end(block.call, fields, events)

    def _end(self, number: int, trailers: Mapping[str, str], events: list[Event]) -> None:
        call = self._calls.pop(number)
        if not call.ends or call.unsent is not None:
            self._out.append(frames.reset(number))  # our half is open still
        events.append(_ended(number, call, trailers))

    def _read_reset(self, frame: Frame, events: list[Event]) -> None:
        if self._calls.pop(frame.stream, None) is None:
            return
        if frame.error == ErrorCode.REFUSED_STREAM:
            events.append(Unprocessed(frame.stream))
        else:
            details = f"the server broke it off (HTTP/2 error {frame.error})"
            events.append(Ended(frame.stream, StatusCode.UNAVAILABLE, details))

    def _read_go_away(self, frame: Frame, events: list[Event]) -> None:
        self.leaving = True
        last = frame.last_stream
        for number in [number for number in self._calls if number > last]:
            del self._calls[number]
            events.append(Unprocessed(number))

    def _read_ping(self, frame: Frame, events: list[Event]) -> None:
        if not frame.flags & ACK:
            self.pings.append(frame.payload)
            if len(self.pings) >= _PINGS_MAX:
                self.answer_pings()

    def _read_settings(self, frame: Frame, events: list[Event]) -> None:
        if frame.flags & ACK:
            return
        self.ready = True
        theirs = frame.settings
        window_bytes = theirs.get(Setting.INITIAL_WINDOW_SIZE, self._call_window_bytes)
        if window_bytes > _WINDOW_BYTES_MAX:
            raise SessionError(f"a window of {window_bytes} bytes")
        for call in self._calls.values():
            call.window_bytes += window_bytes - self._call_window_bytes
        self._call_window_bytes = window_bytes
        self._calls_max = theirs.get(Setting.MAX_CONCURRENT_STREAMS, self._calls_max)
        self.leaving = self.leaving or len(self._calls) >= self._calls_max
        self._out.append(frames.frame(Kind.SETTINGS, 0, flags=ACK))
        self._send_waiting()

    def _read_window(self, frame: Frame, events: list[Event]) -> None:
        if frame.stream == 0:
            self._window_bytes += frame.increment_bytes
        elif (call := self._calls.get(frame.stream)) is not None:
            call.window_bytes += frame.increment_bytes
        self._send_waiting()

    def _send_waiting(self) -> None:
        for _ in range(len(self._waiting)):
            number = self._waiting.popleft()
            if number in self._calls:
                self._send_body(number)

    def _send_body(self, number: int) -> None:
        """As much as the server takes now."""
        call = self._calls[number]
        unsent = call.unsent
        while unsent is not None:
            size_bytes = min(len(unsent), FRAME_BYTES_MAX, self._window_bytes, call.window_bytes)
            if size_bytes <= 0:
                self._waiting.append(number)
                break
            part, unsent = unsent[:size_bytes], unsent[size_bytes:] or None
            self._window_bytes -= size_bytes
            call.window_bytes -= size_bytes
            flags = END_STREAM if call.ends and unsent is None else 0
            self._out.append(frames.frame(Kind.DATA, number, bytes(part), flags))
        call.unsent = unsent


def _ended(number: int, call: _Call, trailers: Mapping[str, str]) -> Ended:
    code, details = trailers.get("grpc-status", ""), unquote(trailers.get("grpc-message", ""))
    if not code.isdecimal() or len(code) > _CODE_DIGITS_MAX:
        is_away = call.http_status in _UNAVAILABLE_HTTP
        unknown = StatusCode.UNAVAILABLE if is_away else StatusCode.UNKNOWN
        return Ended(number, unknown, f"no answer of gRPC (HTTP status {call.http_status or 200})")
    if int(code) == StatusCode.OK and call.received:
        return Ended(number, StatusCode.INTERNAL, "the answer ends in the middle of a message")
    return Ended(number, int(code), details)
