"""A server that speaks HTTP/2 with h2, without a socket."""

import struct

from callboard.registry.engine.etcd.rpc.blocks import headers
from callboard.registry.engine.etcd.rpc.session import Session
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import Settings

BLOCK = headers("http", "localhost", "/a.Service/Method", (("hasleader", "true"),))


def message(payload, *, compressed=0):
    """As gRPC lays one into a stream."""
    return struct.pack(">BI", compressed, len(payload)) + payload


def h2_side(settings=None):
    """What `settings` leaves out is as h2 has it."""
    connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.local_settings = Settings(client=False, initial_values=settings)
    connection.initiate_connection()
    return connection


class Server:
    """The other side of `session`. `h2` may be used as it comes; `exchange` brings both what the
    other has said, as long as there is something."""

    def __init__(self, settings=None):
        self.h2 = h2_side(settings)
        self.session = Session()
        self.requests = {}
        self.received = {}
        self.ended = []
        self.resets = {}
        self.events = []
        self.acknowledges = True
        self.exchange()
        assert self.session.ready

    def exchange(self):
        while True:
            to_server = self.session.take()
            for event in self.h2.receive_data(to_server) if to_server else ():
                self._note(event)
            to_client = self.h2.data_to_send()
            if to_client:
                self.events += self.session.receive(to_client)
            elif not to_server:
                return

    def begin(self, payload=b"", *, ends=True):
        number = self.session.begin(BLOCK, payload, ends=ends)
        self.exchange()
        return number

    def answer(self, number, *payloads, trailers=(("grpc-status", "0"),)):
        self.h2.send_headers(number, [(":status", "200"), ("content-type", "application/grpc")])
        for payload in payloads:
            self.send(number, message(payload))
        self.h2.send_headers(number, list(trailers), end_stream=True)
        self.exchange()

    def send(self, number, data):
        """In as many frames as it takes, and as the client's windows allow."""
        data = memoryview(data)
        while data:
            window = self.h2.local_flow_control_window(number)
            size = min(window, self.h2.max_outbound_frame_size)
            assert size, "the client does not say that it has read"
            self.h2.send_data(number, bytes(data[:size]))
            data = data[size:]
            self.exchange()

    def told(self):
        """The session's events since the last time."""
        events, self.events = self.events, []
        return events

    def _note(self, event):
        if isinstance(event, RequestReceived):
            self.requests[event.stream_id] = dict(event.headers)
        elif isinstance(event, DataReceived):
            so_far = self.received.get(event.stream_id, b"")
            self.received[event.stream_id] = so_far + event.data
            if self.acknowledges:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.ended.append(event.stream_id)
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = event.error_code
