"""What a secondary asks and gets: requests, addresses and the time in; messages out. No sockets."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from .. import wire
from ..chaos import Chaos
from ..client_address import packed_address
from ..names import Labels
from ..options import EdnsOptions
from ..query import Query, Rejected, parse_query
from ..reply import bare_reply, empty_reply
from ..responder import Responder
from .board import BoardCopy, Moment
from .grants import Grant, may_have
from .keys import Keys
from .sections import Malformed, records_of
from .stream import axfr, ixfr, messages, single_soa
from .tsig import Refused, Signer, signature_bytes, verify
from .zone import ReverseZoneRecords, ZoneRecord, ZoneRecords

_SOA_BYTES_MIN: Final = 22
"""Two names and five numbers; the serial is the first of those."""


class Asker(NamedTuple):
    """Where a request came from. `clock` tells the time of day, for signatures: a transfer may
    take longer than clocks may be apart."""

    host: str
    tcp: bool
    clock: Callable[[], int]


class _Request(NamedTuple):
    packet_id: bytes
    query: Query
    message: bytes
    signer: Signer | None
    asker: Asker


class Transfers:
    """Answers whatever a secondary may ask, transfers above all."""

    def __init__(
        self,
        zones: Sequence[Labels],
        *,
        ttl_s: int,
        server_addresses: Sequence[bytes],
        grants: Sequence[Grant] = (),
        keys: Keys | None = None,
        reverse_zones: Sequence[Labels] = (),
        options: EdnsOptions | None = None,
        chaos: Chaos | None = None,
    ) -> None:
        self._has_reverse = bool(reverse_zones)
        self.board = self.new_board()
        self.responder = Responder(
            zones,
            ttl_s=ttl_s,
            server_addresses=server_addresses,
            reverse_zones=reverse_zones,
            options=options,
            chaos=chaos,
        )
        self._options = options or EdnsOptions()
        self.zones = {zone: ZoneRecords(zone, zones, ttl_s, server_addresses) for zone in zones}
        for zone in reverse_zones:
            self.zones[zone] = ReverseZoneRecords(
                zone, reverse_zones, zones[0], ttl_s, server_addresses
            )
        self._events = self.responder.counters.events
        self._grants = grants
        self._keys = keys or {}
        self._moment: Moment | None = None
        self.versions = 0
        """How often anything that can be seen in a zone has changed."""

    def new_board(self) -> BoardCopy:
        """An empty one to note into, for `replace`."""
        return BoardCopy(has_reverse=self._has_reverse)

    @property
    def serial(self) -> int:
        """Of the zones as they are handed out now; `settle` moves it."""
        return self.board.serial & 0xFFFFFFFF

    def settle(self) -> None:
        """Take in all changes so far."""
        if self.board.is_settled:
            return
        keys = self.board.settle()
        self.responder.changed(self.board.serial, keys)
        self.responder.refresh_serials()
        self._moment = None
        self.versions += bool(keys)

    def replace(self, index: int, noted: BoardCopy) -> None:
        """Go on from another copy of the board."""
        self.board.replace(index, noted)
        self.responder.replace(index, self.board.store)
        self._moment = None
        self.versions += 1

    def may_have(self, host: str) -> bool:
        """Whether anybody at `host` may have a zone, given the right key."""
        return any(may_have(self._grants, host, key) for key in (None, *self._keys))

    def answer(self, data: bytes, asker: Asker) -> Iterator[bytes]:
        """The messages of the reply, in order; none is silence."""
        signer: Signer | None = None
        message = data
        try:
            found = verify(data, self._keys, asker.clock())
            if isinstance(found, Refused):
                return self._not_signed(data[:2], found, asker)
            if found is not None:
                message, signer = found
        except Malformed:
            query = Rejected(int.from_bytes(data[2:4], "big"), wire.FORMERR)
            return _bare(data[:2], None if len(data) < wire.HEADER_BYTES else query)
        parsed = parse_query(message)
        if not isinstance(parsed, Query):
            return _signed(_bare(data[:2], parsed), signer, asker)
        if parsed.edns is not None and parsed.edns.options and not parsed.edns.version:
            ours = self._options.reply(
                parsed.edns.options, packed_address(asker.host), tcp=asker.tcp
            )
            if ours is None:
                reply = empty_reply(data[:2], parsed, wire.FORMERR)
                return _signed(iter((reply,)), signer, asker)
            parsed = parsed._replace(edns=parsed.edns._replace(reply_options=ours.data))
        request = _Request(data[:2], parsed, message, signer, asker)
        replies = self._replies(request)
        if signer is not None and not asker.tcp:
            limit_bytes = _udp_limit_bytes(request)
            short = empty_reply(data[:2], parsed, wire.NOERROR, wire.FLAG_TC)
            replies = (one if len(one) <= limit_bytes else short for one in replies)
        return _signed(replies, signer, asker)

    def _replies(self, request: _Request) -> Iterator[bytes]:
        query, asker = request.query, request.asker
        is_transfer = query.qtype in (wire.AXFR, wire.IXFR) and query.qclass == wire.CLASS_IN
        if not is_transfer or (query.edns and query.edns.version):
            client = packed_address(asker.host)
            reply = self.responder.respond(request.message, tcp=asker.tcp, client=client)
            return iter([reply] if isinstance(reply, bytes) else [])
        zone = self.zones.get(query.labels)
        if not asker.tcp and query.qtype == wire.AXFR:
            return self._empty(request, wire.NOTIMP)
        if zone is None:
            return self._empty(request, wire.NOTAUTH)
        key = None if request.signer is None else request.signer.key.name
        if not may_have(self._grants, asker.host, key):
            self._events["transfers_refused"] += 1
            return self._empty(request, wire.REFUSED)
        if self.responder.expired:
            return self._empty(request, wire.SERVFAIL)
        if query.qtype == wire.AXFR:
            return messages(request.packet_id, query, self._whole(zone))
        serial = _serial_of(request.message)
        if serial is None:
            return self._empty(request, wire.FORMERR)
        return self._incremental(request, zone, serial)

    def _incremental(self, request: _Request, zone: ZoneRecords, serial: int) -> Iterator[bytes]:
        records = self._since(zone, serial)
        if request.asker.tcp:
            return messages(request.packet_id, request.query, records)
        limit_bytes = _udp_limit_bytes(request)
        made = messages(request.packet_id, request.query, records, limit_bytes)
        first = next(made)
        if len(first) > limit_bytes or next(made, None) is not None:
            # RFC 1995 section 2: the serial alone, and the asker comes again over TCP.
            soa = single_soa(zone, self.serial)
            first = next(messages(request.packet_id, request.query, soa))
        return iter((first,))

    def _since(self, zone: ZoneRecords, serial: int) -> Iterator[ZoneRecord]:
        if not _is_newer(self.serial, serial):
            return single_soa(zone, self.serial)
        difference = self.board.since(serial)
        if difference is None:
            return self._whole(zone)
        self._events["transfers_incremental"] += 1
        return ixfr(zone, difference)

    def _whole(self, zone: ZoneRecords) -> Iterator[ZoneRecord]:
        self._events["transfers_whole"] += 1
        return axfr(zone, self._now())

    def _now(self) -> Moment:
        """The board as it is; who asks at the same serial shares it."""
        if self._moment is None:
            self._moment = self.board.moment()
        return self._moment

    def _empty(self, request: _Request, rcode: int) -> Iterator[bytes]:
        return iter((empty_reply(request.packet_id, request.query, rcode),))

    def _not_signed(self, packet_id: bytes, refused: Refused, asker: Asker) -> Iterator[bytes]:
        query = parse_query(refused.message)
        if not isinstance(query, Query):
            return _bare(packet_id, query)
        reply = empty_reply(packet_id, query, wire.NOTAUTH)
        return iter((refused.sign(reply, asker.clock()),))


def _signed(replies: Iterator[bytes], signer: Signer | None, asker: Asker) -> Iterator[bytes]:
    if signer is None:
        return replies
    return (signer.sign(one, asker.clock()) for one in replies)


def _bare(packet_id: bytes, rejected: Rejected | None) -> Iterator[bytes]:
    if rejected is None:
        return iter(())
    return iter((bare_reply(packet_id, rejected.flags, rejected.rcode),))


def _serial_of(message: bytes) -> int | None:
    """What an IXFR's asker has: the serial of the SOA in its authority section."""
    with suppress(Malformed):
        for record in records_of(message):
            if record.section == 2 and record.rtype == wire.SOA:
                end = record.end
                is_whole = end - record.data_at >= _SOA_BYTES_MIN
                return int.from_bytes(message[end - 20 : end - 16], "big") if is_whole else None
    return None


def _is_newer(one: int, other: int) -> bool:
    """RFC 1982 section 3.2."""
    return one != other and (one - other) & 0xFFFFFFFF < 0x80000000


def _udp_limit_bytes(request: _Request) -> int:
    edns = request.query.edns
    offered = min(edns.size_bytes, wire.UDP_BYTES_MAX) if edns else wire.UDP_BYTES_PLAIN
    return offered - (signature_bytes(request.signer.key) if request.signer else 0)
