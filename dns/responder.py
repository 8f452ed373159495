"""The responder: a packet in; a reply, silence, or a question for the upstream out.

No sockets and no clock. Nothing in here may raise, whatever comes in; the one `except` below is
the last resort that keeps a bug from becoming an outage.
"""

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from . import wire
from .answers import Answer, Answers, Place
from .cache import Origin, Ready, ReplyCache
from .chaos import Chaos
from .counters import Counters, kind_of
from .names import Labels, Zones
from .options import EdnsOptions
from .query import Query, Rejected, parse_cookie_query, parse_query
from .reply import (
    bare_reply,
    compile_reply,
    cookie_reply,
    empty_reply,
    ready_of,
    with_options,
)
from .reverse import ReverseIndex
from .reverse_answers import ReverseAnswers
from .shapes import Shape, Shapes
from .store import Store
from .transfer.tsig import unknown_key_reply

_RECORD_BYTES_MIN: Final = 12
"""A pointer, type, class, TTL and length: what every record in an answer has."""

_logger = logging.getLogger(__name__)


class Forward(NamedTuple):
    """A question for somebody else: the reply goes out with this id, in at most this size."""

    packet_id: bytes
    query: Query
    limit_bytes: int


class HandedOver(NamedTuple):
    """Not for a worker: a transfer, or signed. It goes as it came to the process for these."""

    packet: bytes


class Responder:
    """Answers from `store`; whoever changes that calls `changed` or `replace`."""

    def __init__(
        self,
        zones: Sequence[Labels],
        *,
        ttl_s: int,
        server_addresses: Sequence[bytes],
        forwards: bool = False,
        hands_over: bool = False,
        options: EdnsOptions | None = None,
        chaos: Chaos | None = None,
        reverse_zones: Sequence[Labels] = (),
    ) -> None:
        self._reverse_zones = frozenset(reverse_zones)
        self.store = self.new_store()
        self.udp = ReplyCache()
        self.tcp = ReplyCache()
        self._shapes = Shapes()
        self.counters = Counters()
        names = Zones((*zones, *reverse_zones))
        reverse = ReverseAnswers(zones[0], self._reverse_zones, ttl_s)
        self._answers = Answers(names, ttl_s, server_addresses, reverse)
        self._forwards = forwards
        self._hands_over = hands_over
        self._options = options or EdnsOptions()
        self._chaos = chaos or Chaos()
        self._expired = False
        self.vouched = False
        """Whether what `respond` answered last came with a server cookie of ours (RFC 7873):
        its source address is not forged, so that rate limiting has nothing to guard."""

    @property
    def expired(self) -> bool:
        """Whether the copy is too old to be told: all of a zone is then SERVFAIL, SOA and NS
        too, as of a secondary whose zone has expired (RFC 1035 section 4.3.5), so that
        resolvers go on to another server."""
        return self._expired

    @expired.setter
    def expired(self, expired: bool) -> None:
        if expired != self._expired:
            self._expired = expired
            self._forget()

    def new_store(self) -> Store:
        """An empty one, which knows addresses if there are reverse zones to be answered."""
        return Store(ReverseIndex() if self._reverse_zones else None)

    @property
    def index(self) -> int:
        """The registry's index that the store reflects."""
        return self._answers.index

    def changed(self, index: int, services: Sequence[bytes]) -> None:
        """The store has been brought to `index`; these services are not what they were."""
        self._answers.index = index
        for service in services:
            self.udp.drop(service)
            self.tcp.drop(service)

    def replace(self, index: int, store: Store) -> None:
        """Answer from another copy from now on."""
        self.store = store
        self._answers.index = index
        self._forget()

    def _forget(self) -> None:
        self.udp.clear()
        self.tcp.clear()
        self._shapes.clear()

    def refresh_serials(self) -> None:
        """Negative answers carry the serial: call this now and then, so that it is not old."""
        self.udp.drop_negative()
        self.tcp.drop_negative()
        self._shapes.clear()

    def respond(
        self, data: bytes, *, tcp: bool = False, client: bytes = b""
    ) -> bytes | Forward | HandedOver | None:
        """The reply to one packet from a packed address; None is silence."""
        self.vouched = False
        try:
            return self._respond(data, tcp, client)
        except Exception:  # the last resort: see above
            self.counters.events["internal_error"] += 1
            _logger.exception("answering %s failed", data.hex())
            if len(data) < wire.HEADER_BYTES:
                return None
            return bare_reply(data[:2], int.from_bytes(data[2:4], "big"), wire.SERVFAIL)

    def _respond(
        self, data: bytes, tcp: bool, client: bytes
    ) -> bytes | Forward | HandedOver | None:
        key = data[2:].lower()
        ready = self.tcp.find(key) if tcp else self.ready(key)
        if ready is not None:
            head, question_end, _, next_tail, kind = ready
            (self.counters.tcp_fast if tcp else self.counters.udp_fast)[kind] += 1
            return b"".join((data[:2], head, data[wire.HEADER_BYTES : question_end], next_tail()))
        query = parse_query(data)
        if query is None:
            self.counters.events["dropped"] += 1
            return None
        if isinstance(query, Rejected):
            return self._rejected(data, query, tcp, client)
        if query.edns is not None and query.edns.options and not query.edns.version:
            return self._with_options(data, query, tcp, client)
        return self._resolved(data, key, query, tcp)

    def ready(self, key: bytes) -> Ready | None:
        """The reply over UDP to a packet without its id, in lower case, if that takes no
        reading: it was asked before, or differs from an earlier one in a label alone."""
        try:
            ready = self.udp.find(key)
            if ready is not None or (found := self._shapes.find(key)) is None:
                return ready
            shape, sibling = found
            if not (sibling[0] and self.udp.admits(key)):
                return shape.ready(sibling)
            ready, origin = shape.lasting(sibling)
            self.udp.put(key, ready, origin)
            return ready
        except Exception:  # the last resort, and the packet gets its reply from `respond`
            self.counters.events["internal_error"] += 1
            _logger.exception("answering %s by its shape failed", key.hex())
            return None

    def _rejected(self, data: bytes, query: Rejected, tcp: bool, client: bytes) -> bytes:
        edns = parse_cookie_query(data) if query.rcode == wire.FORMERR else None
        if edns is not None and not edns.version:
            ours = self._options.reply(edns.options, client, tcp=tcp)
            if ours is not None and ours.has_cookie:
                self.vouched = ours.vouched
                self._count(tcp, 0, wire.NOERROR)
                edns = edns._replace(reply_options=ours.data)
                return cookie_reply(data[:2], query.flags, edns, wire.NOERROR)
        self._count(tcp, 0, query.rcode)
        return bare_reply(data[:2], query.flags, query.rcode)

    def _with_options(
        self, data: bytes, query: Query, tcp: bool, client: bytes
    ) -> bytes | Forward | HandedOver | None:
        """Answered like the same packet without options, which is remembered while this is not;
        ours are put into the reply's OPT."""
        assert query.edns is not None, "options stand in an OPT"
        ours = self._options.reply(query.edns.options, client, tcp=tcp)
        if ours is None:
            self._count(tcp, query.qtype, wire.FORMERR)
            return empty_reply(data[:2], query, wire.FORMERR)
        vouched = ours.vouched
        query = query._replace(edns=query.edns._replace(reply_options=ours.data))
        if query.bare_bytes:
            reply = self._respond(data[: query.bare_bytes] + bytes(2), tcp, client)
            if isinstance(reply, Forward):
                reply = reply._replace(query=query)
            elif isinstance(reply, bytes) and ours.data:
                reply = self._extended(reply, query, ours.data, tcp)
        else:
            reply = self._resolved(data, b"", query, tcp)
        self.vouched = vouched
        return reply

    def _extended(self, reply: bytes, query: Query, options: bytes, tcp: bool) -> bytes:
        limit = _limit_bytes(query, tcp)
        if len(reply) + len(options) <= limit:
            return with_options(reply, options)
        enough = limit // _RECORD_BYTES_MIN
        answer = self._answers.answer(self.store, query.labels, query.qtype, enough)
        assert answer is not None, "what is not ours has short replies"
        compiled = compile_reply(answer, query, limit, self._forwards)
        return b"".join((reply[:2], compiled.head, query.question, compiled.next_tail()))

    def _resolved(
        self, data: bytes, key: bytes, query: Query, tcp: bool
    ) -> bytes | Forward | HandedOver | None:
        if self._hands_over and (query.signed or _is_transfer(query, tcp)):
            return HandedOver(data)
        if query.signed:
            return self._unknown_key(data, query, tcp)
        cache = self.tcp if tcp else self.udp
        limit = _limit_bytes(query, tcp)
        refusal = self._refusal(query, tcp)
        if refusal == wire.REFUSED and query.qclass == wire.CLASS_CH:
            told = self._chaos.answer(query.labels, query.qtype)
            if told is not None:
                return self._compiled(data, key, query, told, limit, cache)
        if refusal is not None:
            self._count(tcp, query.qtype, refusal)
            return empty_reply(data[:2], query, refusal)
        enough = limit // _RECORD_BYTES_MIN
        answer = self._answers.answer(self.store, query.labels, query.qtype, enough)
        if answer is not None:
            if answer.place and query.plain and not tcp and not self._shapes.has(key):
                self._remember_shape(key, query, answer.place, limit)
            return self._compiled(data, key, query, answer, limit, cache)
        if self._forwards and query.flags & wire.FLAG_RD:
            return Forward(data[:2], query, limit)
        self._count(tcp, query.qtype, wire.REFUSED)
        return empty_reply(data[:2], query, wire.REFUSED)

    def _compiled(
        self, data: bytes, key: bytes, query: Query, answer: Answer, limit: int, cache: ReplyCache
    ) -> bytes:
        compiled = compile_reply(answer, query, limit, self._forwards)
        ready = ready_of(query, compiled)
        if query.plain and answer.services:
            origin = Origin(answer.services, compiled.held_bytes, bool(answer.authority))
            cache.put(key, ready, origin)
        (self.counters.tcp_slow if cache is self.tcp else self.counters.udp_slow)[ready[-1]] += 1
        return b"".join((data[:2], compiled.head, query.question, compiled.next_tail()))

    def _remember_shape(self, key: bytes, query: Query, place: Place, limit: int) -> None:
        siblings = self._answers.siblings(self.store, place, query.qtype)
        if siblings is not None:
            self._shapes.put(key, Shape(query, siblings, limit, self._forwards))

    def _unknown_key(self, data: bytes, query: Query, tcp: bool) -> bytes:
        """Signed, and we have no keys."""
        reply = unknown_key_reply(data, query)
        self._count(tcp, query.qtype, reply[3] & 0xF)
        return reply

    def _refusal(self, query: Query, tcp: bool) -> int | None:
        if query.edns is not None and query.edns.version:
            return wire.BADVERS
        if query.qclass != wire.CLASS_IN:
            return wire.REFUSED
        if query.qtype == wire.AXFR and not tcp:
            return wire.NOTIMP
        if query.qtype in (wire.AXFR, wire.IXFR):
            return wire.REFUSED if self._answers.is_zone(query.labels) else wire.NOTAUTH
        if self._expired and self._answers.covers(query.labels):
            return wire.SERVFAIL
        return None

    def _count(self, tcp: bool, qtype: int, rcode: int) -> None:
        slow = self.counters.tcp_slow if tcp else self.counters.udp_slow
        slow[kind_of(qtype, rcode)] += 1


def _is_transfer(query: Query, tcp: bool) -> bool:
    return query.qtype == wire.IXFR or (tcp and query.qtype == wire.AXFR)


def _limit_bytes(query: Query, tcp: bool) -> int:
    if tcp:
        return wire.TCP_BYTES_MAX
    offered = query.edns.size_bytes if query.edns else wire.UDP_BYTES_PLAIN
    return min(offered, wire.UDP_BYTES_MAX)
