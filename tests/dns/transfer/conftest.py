"""A board that is asked in both ways: by its answers, and by what is transferred of it."""

import dns.message
import dns.name
import dns.rdatatype
import dns.zone
import pytest
from callboard.dns.projection import id_prefix, key_of, pack_record
from callboard.dns.transfer.grants import parse_grant
from callboard.dns.transfer.transfers import Asker, Transfers
from callboard.dns.wire import labels_of

ZONE = "callboard.internal"
ANYBODY = ("0.0.0.0/0", "::/0")


class TransferBoard:
    """Changes go to the copy that transfers are made from; `pull` is a secondary's request."""

    def __init__(self, zones=(ZONE,), grants=ANYBODY, keys=None, reverse_zones=(), options=None):
        self.transfers = Transfers(
            [labels_of(zone) for zone in zones],
            ttl_s=5,
            server_addresses=[b"\xc0\0\2\x35"],
            grants=[parse_grant(text) for text in grants],
            keys=keys,
            reverse_zones=[labels_of(zone) for zone in reverse_zones],
            options=options,
        )
        self.index = 1
        self.transfers.replace(self.index, self.transfers.new_board())

    def put(self, *instances):
        self.index += 1
        self.transfers.board.note(
            self.index,
            [(key_of(one.namespace, one.service), pack_record(one)) for one in instances],
        )

    def drop(self, service, instance_id, namespace="default"):
        self.index += 1
        change = (key_of(namespace, service), id_prefix(instance_id))
        self.transfers.board.note(self.index, [change])

    def send(self, wire, host="127.0.0.1", *, tcp=True, now_s=1_700_000_000):
        return [bytes(one) for one in self.transfers.answer(wire, Asker(host, tcp, lambda: now_s))]

    def records(self, zone=ZONE, serial=None):
        """The records of an AXFR, or of an IXFR from `serial`, as (name, type, data) in order."""
        self.transfers.settle()
        query = dns.message.make_query(f"{zone}.", "AXFR" if serial is None else "IXFR")
        if serial is not None:
            soa = f"ns.{zone}. hostmaster.{zone}. {serial} 1 1 1 1"
            query.authority.append(dns.rrset.from_text(f"{zone}.", 0, "IN", "SOA", soa))
        origin = dns.name.from_text(f"{zone}.")
        return [
            (rrset.name.relativize(origin), rrset.rdtype, rdata)
            for message in self.send(query.to_wire())
            for rrset in dns.message.from_wire(message, one_rr_per_rrset=True).answer
            for rdata in rrset
        ]


@pytest.fixture(scope="session")
def transfer_board():
    return TransferBoard
