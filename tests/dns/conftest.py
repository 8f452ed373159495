"""A board in memory behind the responder, a registry small enough to watch, real DNS fronts."""

import socket
import struct
import subprocess
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from callboard.dns import DnsConfig, DnsFront
from callboard.dns.projection import id_prefix, key_of, pack_record
from callboard.dns.responder import Responder
from callboard.dns.wire import labels_of
from callboard.registry.instance import Instance
from callboard.registry.names import InstanceName
from callboard.registry.views import Event, Listed
from callboard.registry.watches import Watches

ZONE = "callboard.internal"
SERVER = "192.0.2.53"
INDEX = 7


def an_instance(service="web", id="a", address="10.0.0.1", **fields):  # noqa: A002
    fields = {"namespace": "default", "port": 80} | fields
    return Instance(service=service, id=id, address=address, **fields)


def shape(reply):
    """A reply in short, as in `NOERROR AA 3/0/0`: rcode, flags, sizes of the sections."""
    flags = [
        name
        for name in ("AA", "TC", "RD", "RA", "AD", "CD")
        if reply.flags & dns.flags.from_text(name)
    ]
    sizes = [
        sum(len(rrset) for rrset in section)
        for section in (reply.answer, reply.authority, reply.additional)
    ]
    return " ".join((dns.rcode.to_text(reply.rcode()), *flags, "/".join(map(str, sizes))))


class Board:
    """Register, remove and ask, without a socket; answers are read by dnspython."""

    def __init__(self, zones=(ZONE,), **options):
        options = {"ttl_s": 5, "server_addresses": [socket.inet_aton(SERVER)]} | options
        self.responder = Responder([labels_of(zone) for zone in zones], **options)
        self.responder.changed(INDEX, [])

    def register(self, *args, **fields):
        self._apply(an_instance(*args, **fields))
        return self

    def remove(self, service, instance_id, namespace="default"):
        key = key_of(namespace, service)
        self.responder.store.apply(key, id_prefix(instance_id))
        self.responder.changed(self.responder.index + 1, [key])

    def _apply(self, instance):
        key = key_of(instance.namespace, instance.service)
        self.responder.store.apply(key, pack_record(instance))
        self.responder.changed(self.responder.index + 1, [key])

    def query(self, name, rdtype="A", *, flags="", **options):
        if not name.endswith("."):
            name = f"{name}.{ZONE}." if name else f"{ZONE}."
        asked = dns.message.make_query(name, rdtype, flags=dns.flags.from_text(flags), **options)
        asked.id = 4711
        return asked

    def raw(self, wire, tcp=False):
        return self.responder.respond(wire, tcp=tcp)

    def ask(self, name, rdtype="A", *, tcp=False, **options):
        asked = self.query(name, rdtype, **options)
        wire = asked.to_wire()
        reply = self.raw(wire, tcp)
        assert isinstance(reply, bytes)
        question = wire[12 : 12 + len(asked.question[0].name.to_wire()) + 4]
        assert reply[12 : 12 + len(question)] == question, "the question is echoed byte by byte"
        read = dns.message.from_wire(reply)
        assert read.id == asked.id
        return read

    def shape(self, *args, **options):
        return shape(self.ask(*args, **options))

    def data(self, *args, **options):
        """The answer section as a set of `TYPE data`."""
        return {
            f"{dns.rdatatype.to_text(rrset.rdtype)} {rdata}"
            for rrset in self.ask(*args, **options).answer
            for rdata in rrset
        }


@pytest.fixture
def board():
    return Board()


@pytest.fixture(scope="session")
def make_board():
    return Board


@pytest.fixture(scope="session")
def make_instance():
    return an_instance


@pytest.fixture(scope="session")
def make_registry():
    return SmallRegistry


@pytest.fixture
def shape_of():
    return shape


class SmallRegistry:
    """What the DNS front asks of a registry, over the real watches; changes are instant."""

    def __init__(self):
        self.index = 1
        self.watches = Watches()
        self.board = {}
        self.pages = 0
        self.stale_ms = 0.0

    def staleness_ms(self):
        return self.stale_ms

    def subscribe(self, topic, since=None):
        return self.watches.subscribe(topic, since)

    def listing(self, topic):
        for listed in list(self.board.values()):
            self.pages += 1
            yield [listed]

    def put(self, *instances):
        """All of them at one index."""
        self.index += 1
        events = []
        for instance in instances:
            name = InstanceName(instance.namespace, instance.service.lower(), instance.id.lower())
            last = self.board.get(name)
            listed = self.board[name] = Listed(instance, self.index, self.index, None)
            events.append(Event(self.index, name, listed, last, False))
        self.watches.publish(events)

    def drop(self, name):
        last = self.board.pop(name, None)
        if last is not None:
            self.index += 1
            self.watches.publish([Event(self.index, name, None, last, False)])


@pytest.fixture
def registry():
    return SmallRegistry()


@pytest.fixture
async def start_front(registry):
    """Starts real fronts on ports of their own; closes them at the end."""
    fronts = []

    async def start(*, batched=True, **options):
        front = DnsFront(DnsConfig(port=0, **options), registry, batched=batched)
        fronts.append(front)
        await front.start()
        return front

    yield start
    for front in fronts:
        await front.close()


def _question(name="", qtype=1, qclass=1, *, flags=0, counts=(1, 0, 0, 0), rest=b""):
    """A query for a name below the zone, or for one that is in bytes already."""
    if isinstance(name, str):
        labels = [*filter(None, name.split(".")), *ZONE.split(".")]
        name = b"".join(bytes((len(one),)) + one.encode() for one in labels) + b"\0"
    header = struct.pack("!6H", 4711, flags, *counts)
    return header + name + struct.pack("!HH", qtype, qclass) + rest


@pytest.fixture(scope="session")
def question():
    return _question


@pytest.fixture
def wire_rows(registry):
    """`wire_rows(front)` sends packets to it and tells of each reply in a line, which leaves
    nothing of it out: `NOERROR AA | answer | authority | additional | OPT ...`."""

    def start(front):
        def told(packets, *, tcp=False):
            exchange = _exchange_tcp if tcp else _exchange_udp
            replies = (exchange(front.address, packet) for packet in packets)
            return [
                _line(packet, reply, registry.index)
                for packet, reply in zip(packets, replies, strict=True)
            ]

        return told

    return start


@pytest.fixture(scope="session")
def exchange():
    """`exchange(address, packet, tcp=...)`: the only reply, or None."""

    def send(address, packet, *, tcp):
        return (_exchange_tcp if tcp else _exchange_udp)(address, packet)

    return send


def _exchange_udp(address, packet):
    """One worker replies in order: what comes after the next reply, is none of this one's."""
    sentinel = b"\xff\xff" + _question()[2:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(20)
        udp.connect(address)
        udp.send(packet)
        udp.send(sentinel)
        reply = udp.recv(65_535)
        if reply[:2] == sentinel[:2]:
            return None
        assert udp.recv(65_535)[:2] == sentinel[:2], "one reply to one query"
        return reply


def _exchange_tcp(address, packet):
    with socket.create_connection(address, 20) as tcp:
        tcp.sendall(struct.pack("!H", len(packet)) + packet)
        tcp.shutdown(socket.SHUT_WR)
        stream = b"".join(iter(lambda: tcp.recv(65_535), b""))
    assert not stream or len(stream) == 2 + int.from_bytes(stream[:2], "big")
    return stream[2:] or None


def _line(packet, reply, serial):
    if reply is None:
        return "silence"
    packet_id, flags, *counts = struct.unpack_from("!6H", reply)
    assert packet_id == 4711
    opcode = flags >> 11 & 0xF
    assert flags & 0x8040 == 0x8000, "QR, and never Z"
    if len(reply) == 12:
        assert (counts, flags & 0x7F0) == ([0, 0, 0, 0], 0)
        rcode = dns.rcode.to_text(flags & 0xF)
        return " ".join(filter(None, (rcode, opcode and str(opcode), "alone")))
    read = dns.message.from_wire(reply, one_rr_per_rrset=True)
    end = 12 + sum(len(one.name.to_wire()) + 4 for one in read.question)
    assert (opcode, reply[12:end]) == (0, packet[12:end]), "the question is echoed as it was"
    sizes = [len(read.answer), len(read.authority), len(read.additional) + (read.edns >= 0)]
    assert counts == [int.from_bytes(packet[4:6]), *sizes], "the counts say what there is"
    names = [name for name in ("AA", "TC", "RD", "RA", "AD", "CD")
             if flags & dns.flags.from_text(name)]  # fmt: skip
    parts = [" ".join((dns.rcode.to_text(read.rcode()), *names))]
    parts += [
        ", ".join(_record(one, serial) for one in section) or "-"
        for section in (read.answer, read.authority, read.additional)
    ]
    if read.edns >= 0:
        options = [_option(int(one.otype), one.to_wire()) for one in read.options]
        parts.append(" ".join((f"OPT {read.ednsflags & 0xFFFFFF:#x} {read.payload}", *options)))
    return " | ".join(parts)


def _option(code, value):
    """`code:hex`; of a cookie the client's part, and how many bytes are the server's."""
    if code == 10:
        return f"{code}:{value[:8].hex()}+{len(value) - 8}"
    return f"{code}:{value.hex()}"


def _record(rrset, serial):
    """`name TTL type data`, short for a SOA that is as it should be."""
    origin = dns.name.from_text(ZONE)
    text = rrset.to_text(origin=origin, relativize=True).replace(" IN ", " ", 1)
    return text.removesuffix(f" ns hostmaster {serial} 3600 600 86400 5")


@contextmanager
def _process(*command, **options):
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def run_process():
    return _process
