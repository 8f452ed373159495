"""Renewals passed on: real sockets on loopback, a keeper that answers, goes, or never was."""

import asyncio
import contextlib
import struct

import pytest
from callboard.registry.engine import Keeper, Refused
from callboard.registry.relay import Passing, RelayListener, Unreached
from callboard.registry.relay import listener as listening
from callboard.registry.relay import passing as on_the_way
from callboard.registry.relay.messages import (
    MESSAGE_BYTES_MAX,
    Hello,
    Renew,
    Renewed,
    decode_answer,
    encode,
    read_payload,
)

HOST = "127.0.0.1"
SETTLE_S_MAX = 20
A, B, C = b"i/default/web/a", b"i/default/web/b", b"i/default/web/c"


class Node:
    """The keeper's side: remembers what it was asked, and knows A and B."""

    def __init__(self, cluster="here"):
        self.asked = []
        self.keeps = True
        self.listener = RelayListener(cluster, self._renewing)

    async def _renewing(self, index, keys):
        self.asked.append((index, list(keys)))
        if not self.keeps:
            return None
        return [at for at, key in enumerate(keys) if key not in (A, B)]

    @property
    def keeper(self):
        return Keeper("keeper", f"{HOST}:{self.listener.port}")


@pytest.fixture
async def node():
    node = Node()
    await node.listener.start(HOST, 0)
    yield node
    await node.listener.close()


class Sender:
    def __init__(self, keeper, cluster="here"):
        self.keeper = keeper
        self.here = None
        self.beside = []
        self.engine_works = True
        self.passing = Passing(
            cluster, "one", lambda: self.keeper, lambda: 7, lambda _keys: self.here, self._beside
        )

    async def _beside(self, keys):
        if not self.engine_works:
            raise Refused("no majority")
        self.beside.append(list(keys))
        return [at for at, key in enumerate(keys) if key == C]


@pytest.fixture
async def sender(node):
    sender = Sender(node.keeper)
    async with asyncio.timeout(SETTLE_S_MAX):
        yield sender
    await sender.passing.close()


async def test_the_keepers_answer_comes_back_to_each_caller(node, sender):
    answers = await asyncio.gather(
        sender.passing.renew([A, C]), sender.passing.renew([B]), sender.passing.renew([C, C, A])
    )
    assert answers == [[1], [], [0, 1]]
    assert node.asked == [(7, [A, C, B, C, C, A])]


async def test_many_callers_share_few_messages_and_one_connection(node, sender):
    await asyncio.gather(*(sender.passing.renew([A]) for _ in range(500)))
    assert sum(len(keys) for _, keys in node.asked) == 500
    assert len(node.asked) < 10
    assert sender.passing.passed_total == 500


async def test_a_keeper_that_does_not_listen_is_gone_round_through_the_engine(node, sender):
    await node.listener.close()
    assert await sender.passing.renew([A, C]) == [1]
    assert sender.beside == [[A, C]]
    assert sender.passing.beside_total == 2


async def test_a_keeper_that_never_answers_is_gone_round_too(monkeypatch, sender):
    monkeypatch.setattr(on_the_way, "DIRECT_S_MAX", 0.05)
    writers = []
    silent = await asyncio.start_server(lambda _reader, writer: writers.append(writer), HOST, 0)
    async with silent:
        sender.keeper = Keeper("keeper", f"{HOST}:{silent.sockets[0].getsockname()[1]}")
        assert await sender.passing.renew([A]) == []
        for writer in writers:
            writer.transport.abort()
    assert sender.beside == [[A]]


async def test_between_two_keepers_renewals_wait_for_the_next_one(node, sender):
    keeper, sender.keeper = sender.keeper, None
    waiting = asyncio.create_task(sender.passing.renew([A]))
    await asyncio.sleep(2 * on_the_way.LOOK_AGAIN_S)
    assert not waiting.done()
    sender.keeper = keeper
    assert await waiting == []
    assert sender.beside == []


async def test_a_node_that_keeps_no_leases_any_more_says_so_and_the_next_is_asked(node, sender):
    node.keeps = False
    waiting = asyncio.create_task(sender.passing.renew([C]))
    while not node.asked:  # noqa: ASYNC110  # the other end of a socket has no event for us
        await asyncio.sleep(0.01)
    sender.here = [0]  # this node has been elected meanwhile
    assert await waiting == [0]
    assert sender.beside == []
    assert sender.passing.passed_total == 0


async def test_without_a_keeper_and_a_majority_the_caller_is_told_in_time(monkeypatch, sender):
    monkeypatch.setattr(on_the_way, "RENEW_S_MAX", 0.2)
    sender.keeper = Keeper("keeper", f"{HOST}:1")
    sender.engine_works = False
    with pytest.raises(Unreached, match="the keeper 'keeper' does not answer"):
        await sender.passing.renew([A])
    sender.keeper = None
    with pytest.raises(Unreached, match="no node keeps the leases"):
        await sender.passing.renew([A])


async def test_nobody_waits_longer_because_others_wait_before_them(monkeypatch, sender):
    monkeypatch.setattr(on_the_way, "RENEW_S_MAX", 0.2)
    keeper, sender.keeper = sender.keeper, None
    full = [A] * on_the_way.RENEWALS_MAX
    waiting = [asyncio.create_task(sender.passing.renew(full)) for _ in range(30)]
    with pytest.raises(Unreached):
        await waiting[0]
    await asyncio.wait(waiting, timeout=on_the_way.GATHER_S * 10)
    assert all(isinstance(each.exception(), Unreached) for each in waiting)
    sender.keeper = keeper
    assert await sender.passing.renew([A]) == []


async def test_who_came_late_waits_on_when_those_before_are_given_up(monkeypatch, sender):
    keeper, sender.keeper = sender.keeper, None
    monkeypatch.setattr(on_the_way, "RENEW_S_MAX", 0.2)
    early = asyncio.create_task(sender.passing.renew([A]))
    await asyncio.sleep(0)
    monkeypatch.setattr(on_the_way, "RENEW_S_MAX", SETTLE_S_MAX)
    late = asyncio.create_task(sender.passing.renew([C]))
    with pytest.raises(Unreached):
        await early
    assert not late.done()
    sender.keeper = keeper
    assert await late == [0]


@pytest.mark.parametrize("address", ["nonsense", "host:port", f"{HOST}:99999"])
async def test_an_address_that_is_none_is_a_keeper_that_does_not_answer(sender, address):
    sender.keeper = Keeper("keeper", address)
    assert await sender.passing.renew([A]) == []
    assert sender.beside == [[A]]


async def test_whoever_waits_when_the_node_stops_is_told(sender):
    sender.keeper = None
    waiting = asyncio.create_task(sender.passing.renew([A]))
    await asyncio.sleep(0.01)
    await sender.passing.close()
    with pytest.raises(Unreached, match="stopping"):
        await waiting


async def test_a_node_of_another_cluster_is_turned_away(node):
    stranger = Sender(node.keeper, cluster="elsewhere")
    assert await stranger.passing.renew([A]) == []
    await stranger.passing.close()
    assert (node.asked, stranger.beside) == ([], [[A]])


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!I", MESSAGE_BYTES_MAX),
        struct.pack("!I", 3) + b"\xff\xff\xff",
        struct.pack("!I", 0),
        encode(Renew(1, [A])),
        encode(Hello("elsewhere", "x")),
        encode(Hello("here", "x")) + encode(Hello("here", "x")),
        encode(Hello("here", "x")) + struct.pack("!I", MESSAGE_BYTES_MAX + 1),
        encode(Hello("here", "x")) + struct.pack("!I", 5) + b"\x93" * 5,
    ],
)
async def test_garbage_costs_its_connection_and_nothing_else(node, sender, garbage):
    reader, writer = await asyncio.open_connection(HOST, node.listener.port)
    writer.write(garbage)
    async with asyncio.timeout(SETTLE_S_MAX):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    assert node.asked == []
    assert await sender.passing.renew([A]) == []


async def test_half_open_and_silent_connections_are_closed_and_bounded(monkeypatch, node, sender):
    monkeypatch.setattr(listening, "HELLO_S_MAX", 0.1)
    monkeypatch.setattr(listening, "CONNECTIONS_MAX", 4)
    opened = [await asyncio.open_connection(HOST, node.listener.port) for _ in range(10)]
    async with asyncio.timeout(SETTLE_S_MAX):
        ends = await asyncio.gather(
            *(reader.read() for reader, _ in opened), return_exceptions=True
        )
    assert all(end == b"" or isinstance(end, ConnectionError) for end in ends)
    for _, writer in opened:
        writer.close()
    assert await sender.passing.renew([A]) == []


async def test_what_is_said_reads_back():
    reader = asyncio.StreamReader()
    reader.feed_data(encode(Renewed([1, 2])) + encode(Renewed([])))
    assert decode_answer(await read_payload(reader)) == Renewed([1, 2])
    assert decode_answer(await read_payload(reader)) == Renewed([])
