"""A board in memory behind the responder, a registry small enough to watch, real DNS fronts."""

import socket
import subprocess
from contextlib import contextmanager

import dns.flags
import dns.message
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

    def put(self, instance):
        self.index += 1
        name = InstanceName(instance.namespace, instance.service.lower(), instance.id.lower())
        last = self.board.get(name)
        listed = self.board[name] = Listed(instance, self.index, self.index, None)
        self.watches.publish([Event(self.index, name, listed, last, False)])

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
