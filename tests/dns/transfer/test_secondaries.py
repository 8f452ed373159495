"""A real NSD and a real Knot follow a whole node, and say the same as it does, name by name."""

import contextlib
import http.client
import json
import random
import re
import signal
import socket
import subprocess
import sys
import time

import dns.message
import dns.rdatatype
import pytest

import dns.query

ZONE = "callboard.internal"
REVERSE_ZONE = "10.in-addr.arpa"
SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PATIENCE_S = 30
CHANGES = 1000
ROUNDS = 5

SERVICES = ("web", "db", "cache", "Api")
IDS = tuple(f"i{n}" for n in range(6))
NAMESPACES = ("default", "prod")
TAGS = ("v1", "v2", "tcp")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "2001:db8::2", "db.example.com")

NSD = """
server:
  ip-address: 127.0.0.1@{port}
  zonesdir: {dir}
  database: ""
  pidfile: {dir}/nsd.pid
  xfrdfile: {dir}/xfrd.state
  xfrdir: {dir}
  zonelistfile: {dir}/zone.list
  logfile: {dir}/log
  username: ""
  verbosity: 3
  rrl-ratelimit: 0
  server-count: 1
remote-control:
  control-enable: no
key:
  name: transfer
  algorithm: hmac-sha256
  secret: {secret}
zone:
  name: {zone}
  zonefile: zone
  allow-notify: 127.0.0.1 transfer
  request-xfr: 127.0.0.1@{primary} transfer
zone:
  name: {reverse_zone}
  zonefile: reverse
  allow-notify: 127.0.0.1 transfer
  request-xfr: 127.0.0.1@{primary} transfer
"""

KNOT = """
server:
  rundir: {dir}
  listen: 127.0.0.1@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: {dir}/db
log:
  - target: {dir}/log
    any: debug
key:
  - id: transfer
    algorithm: hmac-sha256
    secret: {secret}
remote:
  - id: primary
    address: 127.0.0.1@{primary}
    key: transfer
acl:
  - id: told
    address: 127.0.0.1
    key: transfer
    action: notify
zone:
  - domain: {zone}
    storage: {dir}
    master: primary
    acl: told
  - domain: {reverse_zone}
    storage: {dir}
    master: primary
    acl: told
"""


@contextlib.contextmanager
def running(command, **options):
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def configured(directory, template, port, primary):
    (directory / "db").mkdir(parents=True)
    config = directory / "conf"
    places = {"dir": directory, "port": port, "primary": primary}
    config.write_text(
        template.format(**places, secret=SECRET, zone=ZONE, reverse_zone=REVERSE_ZONE)
    )
    return str(config)


def node_command(tmp_path, secondaries):
    keys = tmp_path / "keys"
    keys.write_text(f'key "transfer" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n')
    keys.chmod(0o600)
    command = [
        *(sys.executable, "-m", "callboard", "serve", "--data-dir", str(tmp_path / "data")),
        *("--http", "127.0.0.1:0", "--dns", "127.0.0.1:0", "--name", "node-a"),
        *("--dns-transfer", "127.0.0.1,key:transfer", "--dns-tsig-key", str(keys)),
        *("--reverse-zone", "10.0.0.0/8"),
    ]
    for port in secondaries:
        command += ["--dns-notify", f"127.0.0.1:{port},key:transfer"]
    return command


def ports_of(node):
    """HTTP and DNS, as the node says when it is ready."""
    ports = []
    while len(ports) < 2:
        line = node.stdout.readline()
        assert line, "the node ended"
        ports += re.findall(r"127\.0\.0\.1:(\d+)", line)
    return int(ports[0]), int(ports[1])


class Http:
    def __init__(self, port):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)

    def close(self):
        self._connection.close()

    def __call__(self, method, path, body=None):
        self._connection.request(method, path, body and json.dumps(body))
        response = self._connection.getresponse()
        text = response.read().decode()
        assert response.status in (200, 201, 204, 404), path
        return text


def register_a_crowd(call):
    """Beside which 200 changes are few: otherwise they are not worth a difference."""
    operations = [
        {"op": "register", "service": "crowd", "id": f"c{n}", "port": n, "ttl": 0}
        for n in range(1, 600)
    ]
    call("POST", "/v1/batch", {"operations": operations})


def a_random_change(call, choose):
    service, one, namespace = choose.choice(SERVICES), choose.choice(IDS), choose.choice(NAMESPACES)
    path = f"/v1/services/{service}/instances/{one}"
    kind = choose.random()
    if kind < 0.4:
        call("DELETE", f"{path}?namespace={namespace}")
    elif kind < 0.5:
        status = choose.choice(("passing", "critical", "warning"))
        call("PUT", f"{path}/heartbeat?namespace={namespace}", {"status": status})
    else:
        call("PUT", f"{path}?namespace={namespace}", a_registration(choose))


def a_registration(choose):
    return {
        "address": choose.choice(ADDRESSES),
        "port": choose.choice((80, 443)),
        "protocol": choose.choice(("tcp", "grpc")),
        "ports": choose.choice(({}, {"metrics": {"port": 9100, "protocol": "tcp"}})),
        "tags": choose.sample(TAGS, choose.randint(0, 2)),
        "meta": choose.choice(({}, {"zone": "a"}, {"long": "x" * 300})),
        "ttl": 0,
    }


def every_name():
    yield from ("", "ns.")
    for end in ("", "default.ns.", "prod.ns."):
        for service in SERVICES:
            yield f"{service}.service.{end}"
            yield from (f"{one}.{service}.instance.{end}" for one in IDS)
            yield from (f"{tag}.{service}.service.{end}" for tag in TAGS)
            yield from (f"_{service}._{tag}.service.{end}" for tag in TAGS)
            yield from (f"_{service}._{protocol}.{end}" for protocol in ("tcp", "grpc"))
            yield f"_metrics._tcp.{service}.service.{end}"
    for address in (socket.inet_aton(one) for one in ADDRESSES[:3]):
        yield f"{address.hex()}.addr."


def ask(port, name, rdtype, zone=ZONE):
    query = dns.message.make_query(f"{name}{zone}.", rdtype)
    reply, _ = dns.query.udp_with_fallback(query, "127.0.0.1", timeout=PATIENCE_S, port=port)
    return reply


def answer(port, name, rdtype, zone=ZONE):
    """The records at the very name, whatever an alias there leads to."""
    reply = ask(port, name, rdtype, zone)
    return {
        (dns.rdatatype.to_text(rrset.rdtype), str(rdata).lower(), rrset.ttl)
        for rrset in reply.answer
        if rrset.name == reply.question[0].name
        for rdata in rrset
    }


def serials(port):
    """Of both zones; None for one that is not there yet."""
    return [
        next((data.split()[2] for _, data, _ in answer(port, "", "SOA", zone)), None)
        for zone in (ZONE, REVERSE_ZONE)
    ]


def caught_up(primary, secondaries):
    deadline = time.monotonic() + PATIENCE_S
    while any(serials(port) != serials(primary) for port in secondaries):
        assert time.monotonic() < deadline, [serials(port) for port in (primary, *secondaries)]
        time.sleep(0.05)


def compared(primary, secondaries):
    """How many record sets there were, all of them the same everywhere."""
    count = 0
    for name in every_name():
        for rdtype in ("A", "AAAA", "SRV", "TXT", "NS", "SOA"):
            ours = answer(primary, name, rdtype)
            alias = answer(primary, name, "A")
            if any(kind == "CNAME" for kind, *_ in alias):
                ours = alias  # nothing can stand beside it in a zone
            if "addr." in name and not ours <= answer(secondaries[0], name, rdtype):
                assert not answer(secondaries[0], name, rdtype), "an address nobody has"
                continue
            for port in secondaries:
                assert answer(port, name, rdtype) == ours, (name, rdtype, port)
            count += bool(ours)
    for octet in range(256):
        ours = answer(primary, f"{octet}.0.0.", "PTR", REVERSE_ZONE)
        for port in secondaries:
            assert answer(port, f"{octet}.0.0.", "PTR", REVERSE_ZONE) == ours
        count += bool(ours)
    return count


@pytest.mark.foreign("nsd", "knotd")
def test_nsd_and_knot_follow_a_thousand_changes_and_agree(tmp_path, free_port):
    ports = free_port(), free_port()
    logs = tmp_path / "nsd" / "log", tmp_path / "knot" / "log"
    with contextlib.ExitStack() as stack:
        command = node_command(tmp_path, ports)
        node = stack.enter_context(running(command, stdout=subprocess.PIPE, text=True))
        http_port, primary = ports_of(node)
        nsd = configured(tmp_path / "nsd", NSD, ports[0], primary)
        knot = configured(tmp_path / "knot", KNOT, ports[1], primary)
        stack.enter_context(running(["nsd", "-d", "-c", nsd]))
        stack.enter_context(running(["knotd", "-c", knot], stderr=subprocess.DEVNULL))
        call = stack.enter_context(contextlib.closing(Http(http_port)))
        choose = random.Random(4711)
        register_a_crowd(call)
        caught_up(primary, ports)
        for number in range(ROUNDS):
            for _ in range(CHANGES // ROUNDS):
                a_random_change(call, choose)
            call("PUT", f"/v1/services/last/instances/i{number}", a_registration(choose))
            caught_up(primary, ports)
        assert compared(primary, ports) > 50
        metrics = call("GET", "/metrics")
    said_by_nsd, said_by_knot = (log.read_text() for log in logs)
    by_knot = len(re.findall(r"IXFR, incoming, .* finished", said_by_knot))
    assert by_knot >= ROUNDS - 1
    assert "fallback to AXFR" not in said_by_knot
    assert said_by_knot.count("notify, incoming") >= ROUNDS
    assert said_by_nsd.count("notify for") >= ROUNDS
    assert said_by_nsd.count("TSIG verified with key transfer") >= ROUNDS
    (sent,) = re.findall(r'events_total\{event="transfers_incremental"\} ([0-9]+)', metrics)
    assert int(sent) >= by_knot + ROUNDS - 1, "NSD had differences too"
