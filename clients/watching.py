"""A watch as a value: what to ask when it connects, and what each message means."""

from typing import Any, Final

import msgspec

from .errors import UnexpectedAnswer
from .request import Request
from .requests import watch
from .results import DeleteEvent, Event, Instance, PutEvent, SnapshotEvent
from .sse import EventStream, Message

LAST_EVENT_ID: Final = "Last-Event-ID"


class _SnapshotData(msgspec.Struct):
    instances: tuple[Instance, ...]


class _DeleteData(msgspec.Struct):
    """Stands beside the fields of the instance as it was."""

    reason: str


class Watch:
    """Where one watch stands; it outlives its connections."""

    def __init__(self, service: str | None, namespace: str) -> None:
        self.request: Request[Any] = watch(service, namespace)
        self._stream = EventStream()
        self._last_id: str | None = None

    def connected(self) -> None:
        """A new connection starts a new stream."""
        self._stream = EventStream()

    def headers(self) -> dict[str, str]:
        """Resume after the last event that was handed on."""
        return {"Accept": "text/event-stream"} | (
            {LAST_EVENT_ID: self._last_id} if self._last_id else {}
        )

    def feed(self, chunk: bytes) -> list[Event]:
        """Raises `UnexpectedAnswer` when the stream is not callboard's."""
        try:
            return [event for m in self._stream.feed(chunk) if (event := self._event(m))]
        except (msgspec.MsgspecError, ValueError) as error:
            raise UnexpectedAnswer(f"the event stream is not callboard's: {error}") from error

    def _event(self, message: Message) -> Event | None:
        index = int(message.id or 0)
        event: Event
        match message.event:
            case "snapshot":
                found = msgspec.json.decode(message.data, type=_SnapshotData).instances
                event = SnapshotEvent(index, found, resync=self._last_id is not None)
            case "put":
                event = PutEvent(index, msgspec.json.decode(message.data, type=Instance))
            case "delete":
                gone = msgspec.json.decode(message.data, type=Instance)
                reason = msgspec.json.decode(message.data, type=_DeleteData).reason
                event = DeleteEvent(index, gone, reason)
            case _:
                return None  # what a newer server tells besides
        self._last_id = message.id
        return event
