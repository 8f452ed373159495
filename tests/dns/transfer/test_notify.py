"""When secondaries are told, again and again until they have heard (RFC 1996); without sockets."""

import itertools

import dns.message
import dns.opcode
import dns.rcode
import pytest
from callboard.dns.transfer.grants import Target
from callboard.dns.transfer.notify import INTERVAL_S, RETRY_S_MAX, TRIES_MAX, Notifier
from callboard.dns.transfer.zone import ZoneRecords

ZONE = (b"callboard", b"internal")
PLACE = ("192.0.2.1", 53)
OTHER = ("192.0.2.2", 53)


def notifier(*places):
    zones = {ZONE: ZoneRecords(ZONE, [ZONE], 5, [])}
    targets = [Target(*place, None) for place in places or (PLACE,)]
    return Notifier(targets, zones, {}, itertools.count(7).__next__)


def heard(notice):
    return dns.message.make_response(dns.message.from_wire(notice.message)).to_wire()


def test_a_notice_names_the_zone_and_its_serial():
    one = notifier()
    one.changed(0.0)
    [notice] = one.due(41, 0.0, 0)
    message = dns.message.from_wire(notice.message)
    assert (notice.place, message.id, message.opcode()) == (PLACE, 7, dns.opcode.NOTIFY)
    assert message.question[0].to_text() == "callboard.internal. IN SOA"
    assert [rr.serial for rr in message.answer[0]] == [41]


def test_changes_are_gathered_for_each_secondary():
    one = notifier(PLACE, OTHER)
    for at_s in (0.0, 0.1, 0.2):
        one.changed(at_s)
        assert len(one.due(1, at_s, 0)) == (2 if at_s == 0.0 else 0)
    assert one.next_s == INTERVAL_S
    assert [notice.place for notice in one.due(2, INTERVAL_S, 0)] == [PLACE, OTHER]


def test_who_does_not_answer_is_told_with_growing_pauses_and_not_for_ever():
    one = notifier()
    one.changed(0.0)
    told_s = []
    while one.next_s is not None:
        told_s.append(one.next_s)
        assert len(one.due(1, one.next_s, 0)) == 1
    pauses_s = [after - before for before, after in itertools.pairwise(told_s)]
    assert len(told_s) == TRIES_MAX
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[0] == 2.0
    assert pauses_s[-1] == RETRY_S_MAX
    one.changed(1000.0)
    assert one.next_s == 1000.0


def test_who_has_heard_is_left_alone_until_the_next_change():
    one = notifier(PLACE, OTHER)
    one.changed(0.0)
    first, second = one.due(1, 0.0, 0)
    assert one.received(heard(first), PLACE, 0)
    assert one.received(heard(second), OTHER, 0)
    assert one.next_s is None
    assert not one.received(heard(first), PLACE, 0)  # a copy of the packet says nothing new
    one.changed(5.0)
    assert len(one.due(2, 5.0, 0)) == 2


def test_an_answer_to_an_older_notice_leaves_the_newer_change_to_be_told():
    one = notifier()
    one.changed(0.0)
    [notice] = one.due(1, 0.0, 0)
    one.changed(0.5)
    assert one.received(heard(notice), PLACE, 0)
    assert one.next_s == INTERVAL_S


@pytest.mark.parametrize("wrong", ["place", "id", "rcode", "query", "opcode", "short"])
def test_what_is_no_answer_to_the_notice_is_not_believed(wrong):
    one = notifier()
    one.changed(0.0)
    [notice] = one.due(1, 0.0, 0)
    reply = dns.message.from_wire(heard(notice))
    if wrong == "id":
        reply.id += 1
    if wrong == "rcode":
        reply.set_rcode(dns.rcode.REFUSED)
    if wrong == "query":
        reply.flags &= 0x7FFF
    if wrong == "opcode":
        reply.set_opcode(dns.opcode.QUERY)
    data = reply.to_wire()[: 11 if wrong == "short" else None]
    assert not one.received(data, OTHER if wrong == "place" else PLACE, 0)
    assert one.next_s is not None
