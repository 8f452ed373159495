"""The names and records every server under test gets, and the queries that ask for them."""

import random
from collections.abc import Iterator
from pathlib import Path

ZONE = "callboard.internal"
RECORDS_PER_NAME = 3
ANSWER_TTL_S = 5
NAMES_ASKED = 1000
_SEED = 20


def service(number: int) -> str:
    """Three digits at least: the thousand names that are asked for are all of one length."""
    return f"web{number:03d}"


def owner(number: int) -> str:
    return f"{service(number)}.service.{ZONE}"


def address(service_number: int, instance: int) -> str:
    number = service_number * RECORDS_PER_NAME + instance
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def addr_owner(ipv4: str) -> str:
    return f"{''.join(f'{int(part):02x}' for part in ipv4.split('.'))}.addr.{ZONE}"


def zone_file() -> str:
    """What callboard makes of `NAMES_ASKED` services of three, for the peers to serve."""
    lines = [
        f"$TTL {ANSWER_TTL_S}",
        f"{ZONE}. SOA ns.{ZONE}. hostmaster.{ZONE}. 1 3600 600 86400 5",
        f"{ZONE}. NS ns.{ZONE}.",
        f"ns.{ZONE}. A 127.0.0.1",
    ]
    for number in range(NAMES_ASKED):
        for instance in range(RECORDS_PER_NAME):
            ipv4 = address(number, instance)
            lines.append(f"{owner(number)}. A {ipv4}")
            lines.append(f"{owner(number)}. SRV 1 1 8080 {addr_owner(ipv4)}.")
            lines.append(f"{addr_owner(ipv4)}. A {ipv4}")
    return "\n".join(lines) + "\n"


def write_queries(path: Path, names: Iterator[str], qtype: str = "A") -> Path:
    """A dnsperf input file, shuffled the same way each time."""
    lines = [f"{name} {qtype}\n" for name in names]
    random.Random(_SEED).shuffle(lines)
    path.write_text("".join(lines))
    return path


def asked() -> Iterator[str]:
    return map(owner, range(NAMES_ASKED))


def every(count: int) -> Iterator[str]:
    """The first `count` services, whatever is asked of the others."""
    return map(owner, range(count))


def crowds(count: int) -> Iterator[str]:
    return (f"crowd{number:02d}.service.{ZONE}" for number in range(count))


def random_case(copies: int = 20) -> Iterator[str]:
    """As resolvers that use 0x20 send them: another spelling each time."""
    rng = random.Random(_SEED)
    for _ in range(copies):
        for name in asked():
            yield "".join(rng.choice((char.upper(), char.lower())) for char in name)


def unknown(count: int) -> Iterator[str]:
    """Names that do not exist, so many that no cache of them helps."""
    return (f"nobody{number:06d}.service.{ZONE}" for number in range(count))


def random_subdomains(count: int) -> Iterator[str]:
    """As an attack makes them: labels of any length, below the zone and below what is there."""
    rng = random.Random(_SEED)
    places = (f"service.{ZONE}", f"{owner(0)}", ZONE, f"{service(0)}.instance.{ZONE}")
    for _ in range(count):
        label = f"{rng.getrandbits(256):x}"[: rng.randint(4, 63)]
        yield f"{label}.{rng.choice(places)}"
