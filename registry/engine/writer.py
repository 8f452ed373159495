"""The process that writes: `python -m callboard.registry.engine.writer FD DATA_DIR`.

A process of its own, not a thread: a thread needs the interpreter's lock after every step of
SQLite, and beside an event loop that is busy but never waits long it was measured to get it
after seconds. It also makes "stopped is stopped" simple: after a failed sync the process ends
without closing the database, which would checkpoint it.
"""

import os
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Final, NoReturn

from .frames import (
    Applied,
    Call,
    CannotOpen,
    Closed,
    Ready,
    Rejected,
    Splitter,
    decode_calls,
    encode,
    encode_results,
)
from .opening import lock_writer, open_store
from .seam import CannotStart, Refused
from .store import Stopped, Store

GROUP_OPERATIONS_MAX: Final = 1024
"""Calls are gathered into one transaction up to here: by then one fsync is shared so widely
that more would only make the first caller wait (about 10 ms of work). A call is never split."""
READ_BYTES: Final = 256 * 1024


class _Inbox:
    """The calls that have come and are not answered yet."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._splitter = Splitter()
        self._calls: deque[Call] = deque()
        self._ended = False

    def next_group(self) -> list[Call]:
        """The next calls for one transaction; empty when the node has ended the conversation."""
        while not self._calls and not self._ended:
            self._read(0)
        self._read(socket.MSG_DONTWAIT)
        group: list[Call] = []
        operations = 0
        while self._calls and operations + len(self._calls[0]) <= GROUP_OPERATIONS_MAX:
            operations += len(self._calls[0])
            group.append(self._calls.popleft())
        if not group and self._calls:
            group.append(self._calls.popleft())
        return group

    def _read(self, flags: int) -> None:
        if self._ended:
            return
        try:
            data = self._channel.recv(READ_BYTES, flags)
        except BlockingIOError:
            return
        except ConnectionResetError:  # an end that leaves answers unread
            data = b""
        if not data:
            _end()  # the node is gone, and nobody waits for the answers
        for payload in self._splitter.feed(data):
            calls = decode_calls(payload)
            self._ended = self._ended or not calls
            self._calls.extend(calls)


def serve(store: Store, channel: socket.socket) -> None:
    """Answer calls until the node ends the conversation."""
    inbox = _Inbox(channel)
    try:
        while group := inbox.next_group():
            _apply(store, group, channel)
            store.checkpoint_if_due()
        store.close()
    except Stopped as stopped:
        _send(channel, Rejected(0, str(stopped), unknown=False, stopped=True))
        _end()
    _send(channel, Closed())


def _apply(store: Store, group: list[Call], channel: socket.socket) -> None:
    try:
        results = store.apply(group)
    except Refused as refused:
        _send(channel, Rejected(len(group), str(refused), unknown=False, stopped=False))
    except Stopped as stopped:
        _send(channel, Rejected(len(group), str(stopped), unknown=stopped.unknown, stopped=True))
        _end()
    else:
        _send(channel, Applied(len(group), encode_results(results)))


def _send(channel: socket.socket, answer: Ready | CannotOpen | Applied | Rejected | Closed) -> None:
    try:
        channel.sendall(encode(answer))
    except (BrokenPipeError, ConnectionResetError):
        _end()


def _end() -> NoReturn:
    """End now, leaving the database as it is: the next start reads its log."""
    os._exit(0)


def main() -> None:
    # A terminal or a supervisor may signal the whole group; the node says when it is over.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    data_dir = Path(sys.argv[2])
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        try:
            lock_writer(data_dir)
            store = open_store(data_dir)
        except CannotStart as error:
            _send(channel, CannotOpen(str(error)))
            return
        _send(channel, Ready(store.summary.revision))
        serve(store, channel)


if __name__ == "__main__":
    main()
