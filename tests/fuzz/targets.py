"""What is fuzzed, and what must hold whatever comes. Each target takes any bytes."""

import ctypes
import socket
import time
from array import array

from callboard.dns import wire
from callboard.dns.frames import BadFrame, Frames
from callboard.dns.limiter import slipped
from callboard.dns.mmsg import BATCH_MAX, PACKET_BYTES_MAX, BatchedUdp
from callboard.dns.names import Zones, read_name
from callboard.dns.projection import id_prefix, key_of, pack_record
from callboard.dns.query import Query, parse_query
from callboard.dns.relay import Relayed, client_reply, read_upstream
from callboard.dns.responder import Forward, Responder
from callboard.registry.instance import Instance, Port
from reading import offered_bytes, read_message

SECONDS_MAX = 0.05
"""Of CPU for one packet. The goal is a millisecond; caches are cold and clocks are coarse, so
that whatever is slower than this gets two more chances."""
ZONE = wire.labels_of("callboard.internal")


class Board:
    """A responder with one of everything."""

    def __init__(self, **options):
        self.responder = Responder(
            [ZONE], ttl_s=5, server_addresses=[socket.inet_aton("192.0.2.53")], **options
        )
        self.put("web", "a", "10.0.0.1", tags=("v2",), ports={"metrics": Port(1)}, meta={"k": "v"})
        self.put("web", "b", "2001:db8::1")
        self.put("host", "a", "db.example.com")
        self.put("loop", "a", "loop.service.callboard.internal")
        self.put("api", "a", "10.0.0.1", namespace="prod")
        for n in range(100):
            self.put("many", f"i{n}", f"10.0.0.{n}", meta={"n": str(n)})
            if n < 40:
                self.put("some", f"i{n}", f"10.0.0.{n}")

    def put(self, service, instance_id, address, **fields):
        instance = Instance(
            service=service,
            id=instance_id,
            address=address,
            **({"namespace": "default", "port": 80} | fields),
        )
        self._changed(key_of(instance.namespace, service), pack_record(instance))

    def remove(self, service, instance_id):
        self._changed(key_of("default", service), id_prefix(instance_id))

    def _changed(self, key, record):
        self.responder.store.apply(key, record)
        self.responder.changed(self.responder.index + 1, [key])


class Batch:
    """The batched UDP path, its two system calls replaced by ours: many packets in, replies out."""

    def __init__(self, responder):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            self._udp = BatchedUdp(udp, responder, lambda *_: None)
        self._udp._receive = self._receive
        self._udp._send = self._send
        self._waiting = []
        self._sent = {}
        client = array("H", [socket.AF_INET, 0xFFFF]).tobytes() + socket.inet_aton("192.0.2.1")
        for at in range(BATCH_MAX):
            self._udp._names[at * 28 : at * 28 + len(client)] = client

    def exchange(self, packets):
        """A reply or None for each of at most 64 packets."""
        self._waiting, self._sent = packets, {}
        self._udp._serve_batch()
        return [self._sent.get(at) for at in range(len(packets))]

    def _receive(self, _fd, _headers, _count, _flags, _timeout):
        for at, packet in enumerate(self._waiting):
            base = self._udp._bases[at]
            self._udp._packets[base : base + min(len(packet), PACKET_BYTES_MAX)] = packet[
                :PACKET_BYTES_MAX
            ]
            self._udp._received_bytes[at] = min(len(packet), PACKET_BYTES_MAX)
        return len(self._waiting)

    def _send(self, _fd, at, count, _flags):
        step = ctypes.sizeof(self._udp._headers._type_)
        first = (at - self._udp._headers_at) // step
        for n in range(first, first + count):
            base = self._udp._bases[n]
            size = self._udp._send_bytes[n]
            self._sent[n] = bytes(self._udp._packets[base : base + size])
        return count


BOARD = Board()
FORWARDING = Board(forwards=True)
BATCH = Batch(BOARD.responder)
ZONES = Zones([ZONE])


def check_reply(packet, reply, *, tcp=False, names=True):
    """Everything that holds for the reply to `packet`; None is silence."""
    if len(packet) < wire.HEADER_BYTES or packet[2] & 0x80:
        assert reply is None, "a response or a fragment is never answered"
        return
    assert isinstance(reply, bytes), "everything else is"
    assert reply[:2] == packet[:2], "the id is echoed"
    assert reply[2] & 0x80, "it is a response"
    assert reply[2] & 0x78 == packet[2] & 0x78, "the opcode is echoed"
    sections = read_message(reply, names=names)
    questions = reply[4:6]
    if questions == b"\0\1":
        end = reply.index(b"\0", wire.HEADER_BYTES) if reply[12] else 12
        assert reply[12 : end + 1] == packet[12 : end + 1], "the question is echoed"
    else:
        assert not any(records for records in sections[:2]), "no answer without a question"
    if not tcp:
        assert len(reply) <= wire.UDP_BYTES_MAX
        if len(reply) > wire.UDP_BYTES_PLAIN:
            offered = offered_bytes(packet)
            assert offered is not None, "a large answer to what cannot be read"
            assert len(reply) <= offered, "more than the client takes"


def check_counters(board):
    assert not board.responder.counters.events["internal_error"], "an exception inside"


def timed(call, *arguments):
    """The result of a call, and the seconds it took; fails when it takes long again and again."""
    least = None
    for _ in range(3):
        started = time.thread_time()
        result = call(*arguments)
        took = time.thread_time() - started
        least = took if least is None else min(least, took)
        if took < SECONDS_MAX:
            return result, least
    raise AssertionError(f"{least:.3f} s for one packet")


def packet(data):
    """A UDP packet: at first sight, from memory, forwarded, limited; and as a TCP message."""
    for _ in range(2):
        (reply,), _ = timed(BATCH.exchange, [data])
        check_reply(data[:PACKET_BYTES_MAX], reply)
    if reply is not None:
        short = slipped(reply)
        assert len(short) <= len(reply)
        if short:
            read_message(short)
    check_reply(data, BOARD.responder.respond(data, tcp=True), tcp=True)
    asked = FORWARDING.responder.respond(data)
    if isinstance(asked, Forward):
        assert asked.limit_bytes <= wire.UDP_BYTES_MAX
    else:
        check_reply(data, asked)
    check_counters(BOARD)
    check_counters(FORWARDING)
    parsed = parse_query(data)
    if isinstance(parsed, Query):
        assert wire.name_bytes(parsed.labels) == parsed.question[:-4].lower()
        cut = ZONES.cut(parsed.labels)
        if cut is not None:
            read_name(cut[0])


def stream(data):
    """TCP: the same messages whatever the pieces, each with a sound reply."""
    if not data:
        return
    step, data = max(1, data[0]), data[1:]
    found = [messages(data, size) for size in (step, len(data) or 1)]
    assert found[0] == found[1]
    for message in found[0]:
        reply, _ = timed(lambda: BOARD.responder.respond(message, tcp=True))  # noqa: B023
        check_reply(message, reply, tcp=True)
    check_counters(BOARD)


def messages(data, step):
    frames, found = Frames(), []
    try:
        for at in range(0, len(data), step):
            frames.feed(data[at : at + step])
            while (message := frames.next()) is not None:
                found.append(message)
    except BadFrame:
        pass
    return found


QUESTION = b"\3www\7example\3com\0\0\1\0\1"


def upstream(data):
    """What a resolver sends back: nothing in it may reach a client too large or out of shape."""
    for tcp in (False, True):
        relayed, _ = timed(lambda: read_upstream(data, b"\x12\x67", QUESTION, tcp=tcp))  # noqa: B023
        if not isinstance(relayed, Relayed):
            continue
        for asks in (b"", b"\0\0\x29\x02\x58\0\0\0\0\0\0"):
            head = b"\x47\x11\1\0\0\1\0\0\0\0\0" + bytes((bool(asks),))
            query = parse_query(head + QUESTION + asks)
            assert isinstance(query, Query)
            for limit in (600 if asks else 512, 1232, wire.TCP_BYTES_MAX):
                for age_s in (0, 3):
                    reply = client_reply(relayed, b"\x47\x11", query, limit, age_s)
                    assert len(reply) <= limit
                    assert reply[:2] == b"\x47\x11"
                    read_message(reply, names=False)


TARGETS = {"packet": packet, "stream": stream, "upstream": upstream}
