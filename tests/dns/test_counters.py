"""What is counted, from a packet to what Prometheus reads."""

import asyncio

import dns.asyncquery
import dns.message
from callboard.dns.latency import BOUNDS_S, SUM, UDP, Histogram
from callboard.dns_metrics import dns_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families


def test_truncated_replies_are_counted_also_when_they_are_remembered(board):
    for n in range(100):
        board.register("many", f"i{n}", f"10.0.0.{n}")
    for tcp in (False, False, False, True, True):
        board.raw(board.query("many.service").to_wire(), tcp)
    assert board.responder.counters.truncated() == 3
    counted = {tuple(kind): n for kind, n in board.responder.counters.queries().items()}
    assert counted == {
        ("udp", "slow", "A", "NOERROR"): 1,
        ("udp", "fast", "A", "NOERROR"): 2,
        ("tcp", "slow", "A", "NOERROR"): 1,
        ("tcp", "fast", "A", "NOERROR"): 1,
    }
    assert board.responder.counters.total() == 5


def test_times_fall_into_buckets_up_to_their_bounds():
    histogram = Histogram(UDP)
    histogram.add(50_000, 64)  # the first bound itself
    histogram.add(50_001)
    histogram.add(10**12)
    assert histogram.latencies() == {
        (UDP, 0): 64,
        (UDP, 1): 1,
        (UDP, len(BOUNDS_S)): 1,
        (UDP, SUM): 64 * 50_000 + 50_001 + 10**12,
    }


async def test_prometheus_reads_what_a_worker_counted(start_front, registry, make_instance):
    for n in range(100):
        registry.put(make_instance("many", f"i{n}", f"10.0.0.{n}"))
    front = await start_front()
    host, port = front.address
    for name in ("many.service", "many.service", "nope.service"):
        asked = dns.message.make_query(f"{name}.callboard.internal.", "A")
        await dns.asyncquery.udp(asked, host, timeout=10, port=port)
    await dns.asyncquery.tcp(asked, host, timeout=10, port=port)
    while front.stats().queries.total() < 4:  # noqa: ASYNC110  # another process reports it
        await asyncio.sleep(0.05)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition(front.stats()))
        for sample in family.samples
    }
    assert samples["callboard_dns_events_total", ("event", "truncated")] == 2
    latency = "callboard_dns_latency_seconds"
    assert samples[f"{latency}_count", ("path", "udp")] == 3
    assert samples[f"{latency}_bucket", ("le", "+Inf"), ("path", "udp")] == 3
    assert 0 < samples[f"{latency}_sum", ("path", "udp")] < 10
    assert samples[f"{latency}_count", ("path", "tcp")] == 1
    bounds = [samples[f"{latency}_bucket", ("le", str(le)), ("path", "udp")] for le in BOUNDS_S]
    assert bounds == sorted(bounds)


def exposition(stats):
    class Once:
        def collect(self):
            return dns_metrics(stats)

    return generate_latest(Once()).decode()
