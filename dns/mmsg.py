"""Many UDP packets a system call: recvmmsg and sendmmsg through ctypes.

Everything is made once. The reply is written over the query: id and question stay where they
are, the header's other ten bytes and what follows the question are put in place, and the same
message headers, with the clients' addresses as the kernel wrote them, are handed back to
sendmmsg.
"""

import ctypes
import errno
import os
import socket
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from time import perf_counter_ns
from typing import Any, Final, Literal, NamedTuple

from .counters import Counters
from .limiter import CLASSES, Limiter, network_of
from .rates import PASS
from .reflection import destination_of, own_source
from .responder import Forward, HandedOver, Responder

BATCH_MAX: Final = 64
"""Packets a call: enough to make the call cheap, few enough that the first does not wait for
the last (64 at 5 us are a third of a millisecond)."""
PACKET_BYTES_MAX: Final = 4096
"""The largest query read whole; what is longer is cut, and answered as malformed."""
_STRIDE: Final = PACKET_BYTES_MAX + 64
"""Not a power of two: the packets would compete for the same few lines of the CPU's cache."""
_ADDRESS_BYTES: Final = 28
_CONTROL_BYTES: Final = 64
"""Room for one IP_PKTINFO or IPV6_PKTINFO."""


_CMSGHDR: Final = struct.Struct("@Nii")


class Client(NamedTuple):
    """Where a reply goes, and (as ancillary data) which of our addresses it comes from."""

    address: tuple[Any, ...]
    ancillary: list[tuple[int, int, bytes]]


class _Iovec(ctypes.Structure):
    _fields_ = (("iov_base", ctypes.c_void_p), ("iov_len", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("msg_name", ctypes.c_void_p),
        ("msg_namelen", ctypes.c_uint),
        ("msg_iov", ctypes.c_void_p),
        ("msg_iovlen", ctypes.c_size_t),
        ("msg_control", ctypes.c_void_p),
        ("msg_controllen", ctypes.c_size_t),
        ("msg_flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("msg_hdr", _Msghdr), ("msg_len", ctypes.c_uint))


def _calls() -> tuple[Any, Any] | None:
    if not hasattr(socket, "MSG_WAITALL") or os.uname().sysname != "Linux":
        return None  # other systems lay the structures out in their own ways
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        receive, send = libc.recvmmsg, libc.sendmmsg
    except AttributeError:
        return None
    plain = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    receive.argtypes = (*plain, ctypes.c_void_p)
    send.argtypes = plain
    return receive, send


def is_available() -> bool:
    return _calls() is not None


class BatchedUdp:
    """Answers from `responder` what arrives at a non-blocking UDP socket.

    `on_forward` gets what is not ours to answer, and from whom it came.
    `limiter`, if there is one, judges every reply. `reply_from_destination` answers from the
    very address that was asked, which matters when the socket listens on all of them.
    """

    def __init__(
        self,
        udp: socket.socket,
        responder: Responder,
        on_forward: Callable[[Forward | HandedOver, Client], None],
        *,
        limiter: Limiter | None = None,
        reply_from_destination: bool = False,
    ) -> None:
        calls = _calls()
        assert calls is not None, "is_available() was not asked"
        self._receive, self._send = calls
        self._fd = udp.fileno()
        self._family = udp.family
        self._host_at, self._host_bytes = (4, 4) if udp.family == socket.AF_INET else (8, 16)
        self._respond = responder.respond
        self._responder = responder
        self._limiter = limiter
        self._vouched: set[int] = set()
        """Where in the batch clients stand who have proved their addresses."""
        self._find = responder.udp.young.get
        self._ready = responder.ready
        self._counters: Counters = responder.counters
        self._on_forward = on_forward
        self._controlled = reply_from_destination
        if reply_from_destination:
            _ask_for_destination(udp)
        self._allocate()
        own_port = udp.getsockname()[1]
        self._suspect_ports = frozenset((0, socket.htons(own_port)))
        self._is_own = own_source(udp)

    def serve(self, batches_max: int) -> None:
        """Answer what is waiting, but no more than so many batches."""
        for _ in range(batches_max):
            if self._serve_batch() < BATCH_MAX:
                return

    def _serve_batch(self) -> int:
        received: int = self._receive(
            self._fd, self._headers_at, BATCH_MAX, socket.MSG_DONTWAIT, None
        )
        if received <= 0:
            return 0  # nothing there, or an error of one earlier packet that poll will repeat
        started_ns = perf_counter_ns()
        if self._controlled:
            self._interfaces[:received] = self._any_interface[:received]
        if not self._suspect_ports.isdisjoint(self._ports[:received].tolist()):
            self._silence_reflections(received)
        packets, chars, find, make = self._packets, self._chars, self._find, self._ready
        sizes: list[int] = []
        kinds: list[int] = []
        silent = False
        for base, size in zip(self._bases, self._received_bytes[:received].tolist(), strict=False):
            key = chars[base + 2 : base + size].lower()
            ready = find(key) or make(key)
            if ready is not None:
                head, question_end, total, next_tail, kind = ready
                packets[base + 2 : base + 12] = head
                packets[base + question_end : base + total] = next_tail()
                kinds.append(kind)
            else:
                total = self._slow(base, size)
                silent = silent or not total
            sizes.append(total)
        if self._limiter is not None:
            self._limit(self._limiter, sizes)
            silent = True
        self._send_bytes[:received] = array("L", sizes)
        for first, end in _runs(sizes) if silent else ((0, received),):
            self._send_run(first, end)
        self._reset(received)
        # The C loop of Counter.update costs a quarter of `counter[kind] += 1` per packet.
        self._counters.udp_fast.update(kinds)
        self._counters.udp_latency.add(perf_counter_ns() - started_ns, received)
        return received

    def _silence_reflections(self, received: int) -> None:
        """Leave nothing to answer of packets whose reply could only come back to ourselves."""
        for at in range(received):
            client = self._client(at)
            if self._is_own(client.address, destination_of(client.ancillary)):
                self._received_bytes[at] = 0
                self._counters.events["reflected"] += 1

    def _limit(self, limiter: Limiter, sizes: list[int]) -> None:
        """Shorten or silence what a client's network gets too much of."""
        now_s = limiter.clock()
        judge, packets = limiter.judge, self._packets
        asking = zip(sizes, self._bases, self._networks(len(sizes)), strict=False)
        for at, (size, base, network) in enumerate(asking):
            if not size or at in self._vouched:
                continue
            verdict = judge(network, CLASSES[packets[base + 3]], now_s)
            if verdict != PASS:
                reply = limiter.carry_out(verdict, self._chars[base : base + size], network)
                packets[base : base + len(reply)] = reply
                sizes[at] = len(reply)
        self._vouched.clear()

    def _networks(self, received: int) -> list[bytes]:
        names: bytes = self._names[: received * _ADDRESS_BYTES]
        if self._family == socket.AF_INET:
            return [names[at : at + 3] for at in range(4, len(names), _ADDRESS_BYTES)]
        starts = range(8, len(names), _ADDRESS_BYTES)
        return [network_of(names[at : at + 16]) for at in starts]

    def _slow(self, base: int, size: int) -> int:
        start = base // _STRIDE * _ADDRESS_BYTES + self._host_at
        client = self._names[start : start + self._host_bytes]
        reply = self._respond(self._chars[base : base + size], client=client)
        if self._responder.vouched:
            self._vouched.add(base // _STRIDE)
        if isinstance(reply, bytes):
            self._packets[base : base + len(reply)] = reply
            return len(reply)
        if reply is not None:
            self._on_forward(reply, self._client(base // _STRIDE))
        return 0

    def _send_run(self, first: int, end: int) -> None:
        while first < end:
            at = self._headers_at + first * ctypes.sizeof(_Mmsghdr)
            sent = self._send(self._fd, at, end - first, socket.MSG_DONTWAIT)
            if sent > 0:
                first += sent
            elif ctypes.get_errno() in (errno.EAGAIN, errno.ENOBUFS):
                # The send buffer is full: waiting would hold up everyone, and clients retry.
                self._counters.events["unsent"] += end - first
                return
            elif ctypes.get_errno() != errno.EINTR:
                # This one cannot be sent (port 0, no route): the others must not suffer.
                self._counters.events["unsent"] += 1
                first += 1

    def _reset(self, received: int) -> None:
        """The kernel and we have changed these lengths; all else is as it was made."""
        self._send_bytes[:received] = self._whole[:received]
        if self._controlled:
            self._control_bytes[:received] = self._whole_control[:received]

    def _client(self, at: int) -> Client:
        name: bytes = self._names[at * _ADDRESS_BYTES : (at + 1) * _ADDRESS_BYTES]
        port = int.from_bytes(name[2:4], "big")
        if self._family == socket.AF_INET:
            return Client((socket.inet_ntop(socket.AF_INET, name[4:8]), port), self._ancillary(at))
        scope = int.from_bytes(name[24:28], "little")
        address = (socket.inet_ntop(socket.AF_INET6, name[8:24]), port, 0, scope)
        return Client(address, self._ancillary(at))

    def _ancillary(self, at: int) -> list[tuple[int, int, bytes]]:
        if not self._controlled:
            return []
        start = at * _CONTROL_BYTES
        size, level, kind = _CMSGHDR.unpack_from(self._controls, start)
        data = self._controls[start + _CMSGHDR.size : start + max(size, _CMSGHDR.size)]
        return [(level, kind, data)] if data else []

    def _allocate(self) -> None:
        self._packets = bytearray(_STRIDE * BATCH_MAX)
        self._chars: Any = (ctypes.c_char * len(self._packets)).from_buffer(self._packets)
        self._bases = tuple(range(0, len(self._packets), _STRIDE))
        self._names: Any = (ctypes.c_char * (_ADDRESS_BYTES * BATCH_MAX))()
        # Every second of 28 bytes is the port, in network order, in both address families.
        self._ports = memoryview(self._names).cast("B").cast("H")[1 :: _ADDRESS_BYTES // 2]
        self._controls: Any = (ctypes.c_char * (_CONTROL_BYTES * BATCH_MAX))()
        # Sent back as it came it would be the way out, whatever the routes to the client are.
        interface_at = _CMSGHDR.size + (0 if self._family == socket.AF_INET else 16)
        self._interfaces = _every(self._controls, interface_at, _CONTROL_BYTES, "I")
        self._any_interface = memoryview(array("I", [0] * BATCH_MAX))
        self._iovecs = (_Iovec * BATCH_MAX)()
        self._headers = (_Mmsghdr * BATCH_MAX)()
        self._headers_at = ctypes.addressof(self._headers)
        packets_at = ctypes.addressof(self._chars)
        for at, base in enumerate(self._bases):
            self._iovecs[at].iov_base = packets_at + base
            self._iovecs[at].iov_len = PACKET_BYTES_MAX
            header = self._headers[at].msg_hdr
            header.msg_name = ctypes.addressof(self._names) + at * _ADDRESS_BYTES
            header.msg_namelen = 16 if self._family == socket.AF_INET else _ADDRESS_BYTES
            header.msg_iov = ctypes.addressof(self._iovecs[at])
            header.msg_iovlen = 1
            if self._controlled:
                header.msg_control = ctypes.addressof(self._controls) + at * _CONTROL_BYTES
                header.msg_controllen = _CONTROL_BYTES
        self._received_bytes = _column(self._headers, _Mmsghdr.msg_len.offset, "I")
        self._send_bytes = _column(self._iovecs, _Iovec.iov_len.offset, "L")
        self._control_bytes = _column(self._headers, _Msghdr.msg_controllen.offset, "L")
        self._whole = memoryview(array("L", [PACKET_BYTES_MAX] * BATCH_MAX))
        self._whole_control = memoryview(array("L", [_CONTROL_BYTES] * BATCH_MAX))


def _column(structures: Any, offset: int, typecode: Literal["I", "L"]) -> memoryview:
    """One field of every structure of an array, as numbers that are read and set in one go."""
    return _every(structures, offset, ctypes.sizeof(structures._type_), typecode)


def _every(memory: Any, offset: int, stride: int, typecode: Literal["I", "L"]) -> memoryview:
    cells: memoryview = memoryview(memory).cast("B").cast(typecode)
    return cells[offset // cells.itemsize :: stride // cells.itemsize]


def _runs(sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The stretches of replies between the silences."""
    silences = [at for at, size in enumerate((*sizes, 0)) if not size]
    for before, end in pairwise((-1, *silences)):
        if before + 1 < end:
            yield before + 1, end


def _ask_for_destination(udp: socket.socket) -> None:
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_PKTINFO", 8), 1)
