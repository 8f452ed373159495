"""Ten million mutated packets through the responder, the board changing meanwhile.

`python tests/fuzz/ten_million.py [PACKETS] [SEED]` prints what came back; it fails at the first
packet that breaks a rule of `targets.check_reply`, and shows it.
"""

import random
import sys
import time
from collections import Counter

from callboard.dns.wire import RCODE_NAMES
from seeds import odd_ones, queries
from targets import BATCH_MAX, PACKET_BYTES_MAX, Batch, Board, check_counters, check_reply

PACKETS = 10_000_000
CHANGE_EVERY = 50
"""Batches between two changes of the board."""
TCP_EVERY = 8
"""Every so many batches go through TCP's cache and limits instead."""
EDITS = (0, 1, 1, 1, 1, 2, 2, 5)
"""How many a packet gets, one as likely as the other: with more, all are malformed alike."""
SLOW_S = 0.05
SUSPECT_S = 0.002
"""A batch that takes this long is looked at packet by packet."""


def mutated(seed, rng):
    """A few edits, as a fuzzer makes them; sometimes none."""
    made = bytearray(seed)
    for _ in range(rng.choice(EDITS)):
        at = rng.randrange(len(made) + 1)
        match rng.randrange(6):
            case 0:
                made[at : at + 1] = bytes((rng.randrange(256),))
            case 1 if at < len(made):
                made[at] ^= 1 << rng.randrange(8)
            case 2:
                made[at:at] = bytes((rng.randrange(256),))
            case 3:
                del made[at : at + rng.randrange(8)]
            case 4:
                made[at:at] = made[at : at + rng.randrange(40)]
            case 5:
                made[at : at + 2] = rng.choice((b"\0\0", b"\xff\xff", b"\xc0\x0c", b"\0\x01"))
    return bytes(made)


class Tally:
    """What came back, and what took longest."""

    def __init__(self):
        self.packets = 0
        self.replies = Counter()
        self.largest = 0
        self.slowest_s = 0.0
        self.slowest = b""
        self.paused = 0

    def add(self, packet, reply, tcp):
        self.packets += 1
        outcome = "silence" if reply is None else RCODE_NAMES.get(reply[3] & 0xF, "other")
        self.replies[outcome + (" TC" if reply and reply[2] & 2 else "")] += 1
        if reply and not tcp:
            self.largest = max(self.largest, len(reply))

    def time(self, took_s, batch, again):
        """Of one batch. A machine that was busy elsewhere is asked again, packet by packet."""
        self.paused += took_s >= SLOW_S
        if took_s < SUSPECT_S:
            return
        for packet in batch:
            least = min(again(packet) for _ in range(3))
            if least > self.slowest_s:
                self.slowest_s, self.slowest = least, packet
        assert self.slowest_s < SLOW_S, f"{self.slowest_s:.3f} s for {self.slowest.hex()}"


def main(packets=PACKETS, seed=1):
    rng = random.Random(seed)
    seeds = [data for source in (queries, odd_ones) for _, data in source()]
    board = Board()
    udp, respond = Batch(board.responder), board.responder.respond
    tally, started, n = Tally(), time.monotonic(), 0

    def once(packet):
        begun = time.thread_time()
        respond(packet)
        return time.thread_time() - begun

    for packet in seeds:
        tally.time(SUSPECT_S, [packet], once)
    while tally.packets < packets:
        n += 1
        size = min(BATCH_MAX, packets - tally.packets)
        batch = [mutated(rng.choice(seeds), rng) for _ in range(size)]
        tcp = n % TCP_EVERY == 0
        begun = time.thread_time()
        replies = [respond(one, tcp=True) for one in batch] if tcp else udp.exchange(batch)
        tally.time(time.thread_time() - begun, batch, once)
        for packet, reply in zip(batch, replies, strict=True):
            try:
                check_reply(packet if tcp else packet[:PACKET_BYTES_MAX], reply, tcp=tcp)
            except Exception:
                print(f"packet {packet.hex()}\nreply  {reply and reply.hex()}", file=sys.stderr)
                raise
            tally.add(packet, reply, tcp)
        if n % CHANGE_EVERY == 0:
            check_counters(board)
            change(board, n)
    report(tally, board, time.monotonic() - started)


def change(board, n):
    if n // CHANGE_EVERY % 2:
        board.put("web", "c", f"10.1.{n >> 8 & 255}.{n & 255}")
    else:
        board.remove("web", "c")


def report(tally, board, took_s):
    events = board.responder.counters.events
    print(f"packets             {tally.packets:,} in {took_s:.0f} s")
    for outcome, count in tally.replies.most_common():
        print(f"  {outcome:17} {count:,}")
    print(f"largest over UDP    {tally.largest} bytes")
    print(f"slowest             {tally.slowest_s * 1000:.3f} ms: {tally.slowest[:40].hex()}...")
    print(f"batches over {SLOW_S * 1000:.0f} ms  {tally.paused} (each packet asked again alone)")
    print(f"exceptions          {events['internal_error']}")
    print(f"replies remembered  {len(board.responder.udp) + len(board.responder.tcp):,}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
