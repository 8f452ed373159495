"""The authoritative servers that callboard is measured beside, each with one worker."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .names import ZONE, owner, zone_file
from .ports import HOST, free_port
from .processes import Server, found
from .wire import ask, query, shape


@dataclass
class DnsPeer:
    name: str
    server: Server
    port: int


def answers(port: int, name: str) -> bool:
    answer = ask(port, query(name))
    return answer is not None and shape(answer).answers > 0


def knot(home: Path, port: int) -> list[str]:
    conf = home / "knot.conf"
    conf.write_text(f"""
server:
    rundir: {home}
    listen: {HOST}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {home}
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: {home}
    zonefile-sync: -1
    journal-content: none
zone:
  - domain: {ZONE}
    file: {home}/zone
""")
    return [found("knotd"), "-c", str(conf)]


def nsd(home: Path, port: int) -> list[str]:
    """Debian's NSD limits a source to 200 answers a second: off, or nothing is measured."""
    conf = home / "nsd.conf"
    conf.write_text(f"""
server:
    ip-address: {HOST}@{port}
    server-count: 1
    username: ""
    chroot: ""
    database: ""
    zonesdir: "{home}"
    pidfile: "{home}/nsd.pid"
    xfrdfile: "{home}/xfrd.state"
    xfrdir: "{home}"
    zonelistfile: "{home}/zone.list"
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
    minimal-responses: yes
remote-control:
    control-enable: no
zone:
    name: "{ZONE}"
    zonefile: "{home}/zone"
""")
    return [found("nsd"), "-d", "-c", str(conf)]


def bind(home: Path, port: int) -> list[str]:
    """`no-auth`, not `yes`: that would also drop the addresses of SRV targets."""
    conf = home / "named.conf"
    conf.write_text(f"""
options {{
    directory "{home}";
    pid-file "{home}/named.pid";
    session-keyfile "{home}/session.key";
    listen-on port {port} {{ {HOST}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    notify no;
    dnssec-validation no;
    minimal-responses no-auth;
}};
controls {{ }};
zone "{ZONE}" {{ type primary; file "{home}/zone"; }};
""")
    return [found("named"), "-4", "-f", "-n", "1", "-U", "1", "-c", str(conf)]


def powerdns(home: Path, port: int) -> list[str]:
    conf = home / "zones.conf"
    conf.write_text(f'zone "{ZONE}" {{ type master; file "{home}/zone"; }};\n')
    options = {
        "config-dir": home,
        "launch": "bind",
        "bind-config": conf,
        "local-address": HOST,
        "local-port": port,
        "socket-dir": home,
        "receiver-threads": 1,
        "distributor-threads": 1,
        "cache-ttl": 60,
        "query-cache-ttl": 60,
        "daemon": "no",
        "guardian": "no",
        "setuid": "",
        "setgid": "",
        "disable-syslog": "yes",
        "write-pid": "no",
        "loglevel": 3,
    }
    return [found("pdns_server"), *(f"--{key}={value}" for key, value in options.items())]


DNS_PEERS: dict[str, Callable[[Path, int], list[str]]] = {
    "Knot": knot,
    "NSD": nsd,
    "BIND": bind,
    "PowerDNS": powerdns,
}


def dns_peer(name: str, home: Path) -> DnsPeer:
    """Not started yet. Raises `Missing`."""
    home.mkdir(parents=True)
    (home / "zone").write_text(zone_file())
    port = free_port()
    argv = DNS_PEERS[name](home, port)
    return DnsPeer(name, Server(argv, home / "log"), port)


def wait_until_it_answers(peer: DnsPeer) -> None:
    """Raises `DidNotStart`."""
    peer.server.wait_until(lambda: answers(peer.port, owner(0)))
