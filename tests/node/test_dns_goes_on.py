"""DNS while the node that feeds it hangs or is gone."""

import json
import signal
import time
import urllib.request

import dns.message
import dns.rcode

import dns.query

WAIT_S = 20


def register(node, instance="web-1", address="10.0.0.5"):
    request = urllib.request.Request(
        f"{node.http}/v1/services/web/instances/{instance}",
        data=json.dumps({"address": address, "port": 80, "ttl": 0}).encode(),
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        assert answer.status in (200, 201)


def ask(port):
    asked = dns.message.make_query("web.service.callboard.internal.", "A")
    return dns.query.udp(asked, "127.0.0.1", port=port, timeout=5)


def addresses(port):
    return sorted(str(one) for rrset in ask(port).answer for one in rrset)


def wait_for(condition):
    deadline_s = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.02)
    return found


def test_a_hanging_node_is_answered_for_until_the_copy_is_too_old(start_node):
    node = start_node("--dns-max-stale", "5s")
    register(node)
    wait_for(lambda: addresses(node.dns_port) == ["10.0.0.5"])
    node.process.send_signal(signal.SIGSTOP)
    stopped_s = time.monotonic()
    try:
        while ask(node.dns_port).rcode() == dns.rcode.NOERROR:
            assert time.monotonic() < stopped_s + WAIT_S
            time.sleep(0.05)
        assert time.monotonic() > stopped_s + 3
        assert ask(node.dns_port).rcode() == dns.rcode.SERVFAIL
    finally:
        node.process.send_signal(signal.SIGCONT)
    wait_for(lambda: addresses(node.dns_port) == ["10.0.0.5"])
    assert node.stop() == 0
