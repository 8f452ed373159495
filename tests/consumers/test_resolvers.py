"""dnsmasq, Unbound and BIND forward the zone to a node and have nothing to complain of."""

import pytest

SERVICE = "web.service.callboard.internal"
LARGE = "large.service.callboard.internal"
LARGE_INSTANCES = 90
"""Some 1.5 KB of A records: more than any of them takes over UDP, and fewer than the 100 of one
type beyond which BIND since 9.18.28 refuses an answer (max-records-per-type)."""

UNBOUND = """
server:
  interface: 127.0.0.1@{port}
  username: ""
  chroot: ""
  directory: "{dir}"
  pidfile: "{dir}/unbound.pid"
  use-syslog: no
  logfile: ""
  verbosity: 1
  log-servfail: yes
  val-log-level: 2
  do-not-query-localhost: no
  domain-insecure: "callboard.internal"
  local-zone: "internal." nodefault
  private-domain: "callboard.internal"
  cache-max-ttl: 1
  cache-max-negative-ttl: 1
  num-threads: 1
remote-control:
  control-enable: no
{kind}-zone:
  name: "callboard.internal"
  {kind}-addr: 127.0.0.1@{dns}
"""

BIND = """
options {{
  directory "{dir}";
  pid-file "{dir}/named.pid";
  session-keyfile "{dir}/session.key";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  recursion yes;
  dnssec-validation no;
  empty-zones-enable no;
  max-cache-ttl 1;
  max-ncache-ttl 1;
  notify no;
}};
controls {{}};
zone "callboard.internal" {{ type forward; forward only; forwarders {{ 127.0.0.1 port {dns}; }}; }};
"""


def start_unbound(kind):
    def start(run, where, port, dns):
        config = where / "unbound.conf"
        config.write_text(UNBOUND.format(dir=where, port=port, dns=dns, kind=kind))
        return run("unbound", "unbound", "-d", "-c", str(config))[1]

    return start


def start_bind(run, where, port, dns):
    config = where / "named.conf"
    config.write_text(BIND.format(dir=where, port=port, dns=dns))
    return run("named", "named", "-g", "-n", "1", "-c", str(config))[1]


def start_dnsmasq(run, where, port, dns):
    return run(
        *("dnsmasq", "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts"),
        *("--conf-file=/dev/null", "--log-facility=-", "--pid-file", "--user=root"),
        *("--listen-address=127.0.0.1", "--bind-interfaces", f"--port={port}", "--cache-size=0"),
        f"--server=/callboard.internal/127.0.0.1#{dns}",
    )[1]


RESOLVERS = [
    pytest.param(start_dnsmasq, id="dnsmasq", marks=pytest.mark.foreign("dnsmasq", "dig")),
    *(
        pytest.param(start_unbound(kind), id=kind, marks=pytest.mark.foreign("unbound", "dig"))
        for kind in ("stub", "forward")
    ),
    pytest.param(start_bind, id="bind", marks=pytest.mark.foreign("named", "dig")),
]
COMPLAINTS = ("warning", "error", "formerr", "servfail", "lame", "broken", "unexpected", "bogus")


@pytest.mark.parametrize("start", RESOLVERS)
def test_a_resolver_sees_what_is_registered_and_what_goes(
    start, start_node, run, wait_for, free_port, dig, tmp_path
):
    node = start_node("--dns-ttl", "1s")
    node.register("web", "a", address="10.0.0.1", port=8080)
    node.register("web", "b", address="2001:db8::1", port=8081)
    many = [f"10.1.0.{n}" for n in range(LARGE_INSTANCES)]
    for n, address in enumerate(many):
        node.register("large", f"i{n}", address=address, port=80)
    port = free_port()
    log = start(run, tmp_path, port, node.dns_port)

    def asked(name, kind="A", *options):
        return dig(port, name, kind, *options)

    wait_for(lambda: asked(SERVICE), ("NOERROR", ["10.0.0.1"]).__eq__, log)
    assert asked(SERVICE, "AAAA") == ("NOERROR", ["2001:db8::1"])
    status, found = asked("_web._tcp.callboard.internal", "SRV")
    assert (status, [one.split()[:3] for one in found]) == (
        "NOERROR",
        [["1", "1", "8080"], ["1", "1", "8081"]],
    )
    target = found[0].split()[3]
    assert asked(target) == ("NOERROR", ["10.0.0.1"])
    assert asked(SERVICE, "MX") == ("NOERROR", [])
    assert asked("nobody.service.callboard.internal") == ("NXDOMAIN", [])
    assert asked("service.callboard.internal") == ("NOERROR", [])
    assert asked(LARGE, "A", "+bufsize=512") == ("NOERROR", sorted(many))
    node.deregister("web", "a")
    wait_for(lambda: asked(SERVICE), ("NOERROR", []).__eq__, log)
    node.deregister("web", "b")
    wait_for(lambda: asked(SERVICE), ("NXDOMAIN", []).__eq__, log)
    told = [line for line in log.read_text().splitlines() if "internal" in line.lower()]
    assert not [line for line in told if any(word in line.lower() for word in COMPLAINTS)]
