"""A server of HTTP/2 on a real socket; what it answers is its test's to say."""

import asyncio

from h2.events import StreamEnded

from .h2_server import h2_side, message

PATH = "/a.Service/Method"
WAIT_S = 10.0


def ask(one, timeout_s=WAIT_S):
    return one.call(PATH, (), b"question", timeout_s)


class Peer(asyncio.Protocol):
    """One connection to `Served`."""

    def __init__(self, served):
        self.served = served
        self.h2 = h2_side()
        self.events = []
        self.unread = b""

    def connection_made(self, transport):
        self.transport = transport
        self.served.peers.append(self)
        self.served.news.set()
        if self.served.greets:
            self.flush()

    def data_received(self, data):
        self.unread += data
        if self.served.greets:
            self.read()
        self.served.news.set()

    def read(self):
        data, self.unread = self.unread, b""
        for event in self.h2.receive_data(data):
            self.events.append(event)
            self.served.on_event(self, event)
        if not self.served.is_mute:
            self.flush()

    def connection_lost(self, error):
        self.served.lost.append(self)
        self.served.news.set()

    def flush(self):
        self.transport.write(self.h2.data_to_send())

    def answer(self, number, payload=b"answer"):
        self.h2.send_headers(number, [(":status", "200")])
        self.h2.send_data(number, message(payload))
        self.h2.send_headers(number, [("grpc-status", "0")], end_stream=True)
        self.flush()


class Served:
    """A server at `target`; `on_event` is what it does."""

    def __init__(self):
        self.peers, self.lost = [], []
        self.greets, self.is_mute = True, False
        self.news = asyncio.Event()

    def on_event(self, peer, event):
        if isinstance(event, StreamEnded):
            peer.answer(event.stream_id)

    async def until(self, done):
        async with asyncio.timeout(WAIT_S):
            while not done():
                self.news.clear()
                await self.news.wait()

    def events(self, kind):
        return [one for peer in self.peers for one in peer.events if isinstance(one, kind)]
