"""The table of a node's settings: each row makes a flag, an environment variable and a TOML key."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from .addresses import Address, parse_address, parse_ip
from .cluster_list import parse_cluster, parse_node_name
from .dns.reverse import parse_reverse_zone
from .dns.transfer.grants import parse_grant, parse_target
from .durations import parse_duration_s
from .etcd_access import parse_etcd_prefix, parse_etcd_urls, parse_etcd_user

ENV_PREFIX: Final = "CALLBOARD_"

ZONE_CHARS_MAX: Final = 51
"""Leaves room below a zone, in the 255 bytes of a name (RFC 1035 section 2.3.4), for three full
labels and a kind: `ID.SERVICE.instance.` in a namespace."""

DNS_WORKERS_MAX: Final = 64
"""More processes than any machine's share of cores for DNS: a slip of the hand."""

DNS_TTL_S_MAX: Final = 86_400
"""A day: answers that stale are of no use to anybody who looks a service up."""

SRV_WEIGHT_SCALE_MAX: Final = 65_535
"""All that an SRV weight has room for (RFC 2782)."""

DEFAULT_TTL_S_MIN: Final = 0.1
DEFAULT_TTL_S_MAX: Final = 30 * 24 * 3600.0
"""What a registration may name itself (`api/inputs.py`), spelt again: the command line does without
the API's imports."""

DNS_MAX_STALE_S_MIN: Final = 5
"""The registry process says once a second how old its board is; it may be busy for some."""

DNS_RRL_RATE_MAX: Final = 1_000_000
"""More than a worker answers: whoever wants no limit writes `off`."""

DNS_RRL_SLIP_MAX: Final = 100
"""As in BIND and NSD, some more: rarer than that is never."""

DNS_RRL_MODES: Final = ("off", "log", "on")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("text", "json")

_ZONE_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table; `parse` raises `ValueError` that says what to write."""

    flag: str
    metavar: str
    default: str | None
    help: str
    parse: Callable[[str], object]
    field: str = ""
    repeats: bool = False
    numeric: bool = False
    """Whether a TOML file may hold it as a number."""
    separator: str = r"[,\s]+"
    """Between the values of one that repeats, in its environment variable."""
    switch: bool = False
    """Whether the flag takes no value; a TOML file holds true or false."""

    @property
    def variable(self) -> str:
        return ENV_PREFIX + self.flag.upper().replace("-", "_")

    @property
    def attribute(self) -> str:
        """The field of `ServeConfig`."""
        return self.field or self.flag.replace("-", "_")


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("the path is empty: write one, for example ./callboard-data")
    return text


def _on_or_off(text: str) -> bool:
    if text.lower() not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        raise ValueError(f"{text!r} is neither on nor off: write true or false")
    return text.lower() in ("true", "1", "yes", "on")


def _listener(text: str) -> Address:
    return parse_address(text, port_min=0)


def _zone(text: str) -> str:
    zone = text.strip().lower().removesuffix(".")
    labels = zone.split(".")
    if len(zone) > ZONE_CHARS_MAX or not all(_ZONE_LABEL.fullmatch(label) for label in labels):
        raise ValueError(
            f"{text!r} cannot be a zone: write up to {ZONE_CHARS_MAX} characters of letters,"
            " digits and '-' in labels, for example callboard.internal"
        )
    return zone


def _dns_ttl_s(text: str) -> int:
    seconds = parse_duration_s(text)
    if not seconds.is_integer() or seconds > DNS_TTL_S_MAX:
        raise ValueError(f"{text!r}: a DNS TTL is whole seconds, from 0s to {DNS_TTL_S_MAX}s")
    return int(seconds)


def _default_ttl_s(text: str) -> float:
    seconds = parse_duration_s(text)
    if seconds and not DEFAULT_TTL_S_MIN <= seconds <= DEFAULT_TTL_S_MAX:
        raise ValueError(
            f"{text!r}: write 0 for registrations that stay, or 100ms to 720h (30 days)"
        )
    return round(seconds, 3)


def _yes_or_no(text: str) -> bool:
    return _one_of(("yes", "no"))(text) == "yes"


def _max_stale_s(text: str) -> float:
    if text.lower() == "unlimited":
        return math.inf
    seconds = parse_duration_s(text)
    if seconds < DNS_MAX_STALE_S_MIN:
        raise ValueError(
            f"{text!r} is less than {DNS_MAX_STALE_S_MIN}s, of which a healthy registry may need"
            " a part: write more, or unlimited"
        )
    return seconds


def _whole_number(what: str, least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is no number of {what} from {least} to {most}")
        return int(text)

    return parse


def _share(text: str) -> float:
    number = text.strip().removesuffix("%")
    try:
        percent = float(number)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise ValueError(f"{text!r} is no share: write a percentage from 0% (off) to 100%")
    return percent / 100


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"{text!r} is not known: write one of {', '.join(choices)}")
        return text.lower()

    return parse


SETTINGS: Final = (
    Setting("name", "NAME", None, "This node's name; the host name if left out.", parse_node_name),
    Setting("data-dir", "DIR", "./callboard-data", "Where the node keeps its data.", _path),
    Setting("http", "HOST:PORT", "127.0.0.1:8500", "Where the HTTP API listens.", _listener),
    Setting(
        "dns", "HOST:PORT", "127.0.0.1:8600", "Where DNS listens, over UDP and TCP.", _listener
    ),
    Setting(
        "peer",
        "HOST:PORT",
        None,
        "Where this node listens for others; its address in --cluster, or 127.0.0.1:8300.",
        _listener,
    ),
    Setting(
        "cluster",
        "NAME=HOST:PORT,...",
        None,
        "The first nodes, this one among them, and where they reach each other.",
        parse_cluster,
    ),
    Setting("http-cert", "FILE", None, "The HTTP API's certificate: it then speaks TLS.", _path),
    Setting("http-key", "FILE", None, "The key of that certificate.", _path),
    Setting("http-client-ca", "FILE", None, "Clients need a certificate of this CA.", _path),
    Setting(
        "calls",
        "HOST:PORT",
        None,
        "Where other nodes bring renewals; the host of --peer and any free port if left out.",
        _listener,
    ),
    Setting("peer-ca", "FILE", None, "The CA of the nodes: they check each other with it.", _path),
    Setting("peer-cert", "FILE", None, "The certificate shown to other nodes.", _path),
    Setting("peer-key", "FILE", None, "The key of that certificate.", _path),
    Setting(
        "insecure-peers",
        "",
        "false",
        "Listen for nodes beyond loopback without TLS.",
        _on_or_off,
        switch=True,
    ),
    Setting(
        "zone",
        "NAME",
        "callboard.internal",
        "A DNS zone to answer for; may be given more than once.",
        _zone,
        field="zones",
        repeats=True,
    ),
    Setting(
        "ns-address",
        "ADDR",
        None,
        "An address of ns.ZONE: name those of all nodes; left out, the one that --dns listens on.",
        parse_ip,
        field="ns_addresses",
        repeats=True,
    ),
    Setting(
        "reverse-zone",
        "CIDR|NAME",
        None,
        "Addresses whose names (PTR) are answered, as 10.0.0.0/8; may be given more than once.",
        parse_reverse_zone,
        field="reverse_zones",
        repeats=True,
    ),
    Setting(
        "dns-ttl",
        "DURATION",
        "5s",
        "How long resolvers may keep an answer.",
        _dns_ttl_s,
        field="dns_ttl_s",
        numeric=True,
    ),
    Setting(
        "srv-weight-scale",
        "N",
        "1",
        "SRV weights are those registered times this; 256 for HAProxy.",
        _whole_number("times", 1, SRV_WEIGHT_SCALE_MAX),
        numeric=True,
    ),
    Setting(
        "dns-workers",
        "N",
        "1",
        "How many processes answer DNS.",
        _whole_number("processes", 1, DNS_WORKERS_MAX),
        numeric=True,
    ),
    Setting(
        "dns-max-stale",
        "DURATION",
        "1h",
        "How long DNS goes on from its copy when the registry is silent; or unlimited.",
        _max_stale_s,
        field="dns_max_stale_s",
        numeric=True,
    ),
    Setting(
        "dns-outlive",
        "yes|no",
        "yes",
        "Whether DNS goes on, as long as that, when the node is killed; the next one takes over.",
        _yes_or_no,
    ),
    Setting(
        "dns-rrl",
        "MODE",
        "off",
        "Response rate limiting: off, log (count what would be limited) or on.",
        _one_of(DNS_RRL_MODES),
    ),
    Setting(
        "dns-rrl-rate",
        "N",
        "200",
        "Responses a second over UDP for each /24 or /56: answers, denials and errors apart.",
        _whole_number("responses", 1, DNS_RRL_RATE_MAX),
        numeric=True,
    ),
    Setting(
        "dns-rrl-slip",
        "N",
        "2",
        "Every so many limited responses say to come back over TCP or with a cookie; 0: none.",
        _whole_number("responses", 0, DNS_RRL_SLIP_MAX),
        numeric=True,
    ),
    Setting(
        "dns-cookie-secret",
        "FILE",
        None,
        "Secrets of DNS cookies, 32 hex digits a line, newest first; a random one if left out.",
        _path,
    ),
    Setting(
        "dns-nsid",
        "NAME",
        None,
        "What NSID and id.server answer; they do not if left out.",
        parse_node_name,
    ),
    Setting(
        "dns-chaos",
        "off|id|all",
        "id",
        "Class CH: off, id (id.server, if there is an NSID) or all (version.bind too).",
        _one_of(("off", "id", "all")),
    ),
    Setting(
        "dns-transfer",
        "ADDR|CIDR[,key:NAME]",
        None,
        "Who may transfer the zones, and with which key; nobody if left out.",
        parse_grant,
        repeats=True,
        separator=r"\s+",
    ),
    Setting(
        "dns-notify",
        "ADDR:PORT[,key:NAME]",
        None,
        "A secondary that is told of changes.",
        parse_target,
        repeats=True,
        separator=r"\s+",
    ),
    Setting("dns-tsig-key", "FILE", None, "Keys of transfers, as tsig-keygen writes them.", _path),
    Setting(
        "default-ttl",
        "DURATION",
        "30s",
        "The TTL of a registration that names none.",
        _default_ttl_s,
        field="default_ttl_s",
        numeric=True,
    ),
    Setting(
        "mass-expiry-share",
        "PERCENT",
        "15%",
        "Hold expiries back when more of all leases (and more than 10) run out at once; 0: off.",
        _share,
    ),
    Setting(
        "mass-expiry-hold",
        "DURATION",
        "5m",
        "How long they are held back; 0: off.",
        parse_duration_s,
        field="mass_expiry_hold_s",
        numeric=True,
    ),
    Setting(
        "forward",
        "ADDR:PORT",
        None,
        "The resolver for names outside the zones; without it they are refused.",
        parse_address,
    ),
    Setting(
        "etcd",
        "URL,...",
        None,
        "An etcd cluster that exists already keeps the board, instead of the data directory.",
        parse_etcd_urls,
    ),
    Setting(
        "etcd-prefix",
        "PREFIX",
        "callboard/",
        "What the board's keys in that etcd start with.",
        parse_etcd_prefix,
    ),
    Setting("etcd-ca", "FILE", None, "The certificates that etcd's own is checked with.", _path),
    Setting("etcd-cert", "FILE", None, "The certificate shown to etcd.", _path),
    Setting("etcd-key", "FILE", None, "The key of that certificate.", _path),
    Setting("etcd-user", "USER:PASSWORD", None, "Who this node is to etcd.", parse_etcd_user),
    Setting("log-level", "LEVEL", "info", f"{', '.join(LOG_LEVELS)}.", _one_of(LOG_LEVELS)),
    Setting("log-format", "FORMAT", "text", f"{' or '.join(LOG_FORMATS)}.", _one_of(LOG_FORMATS)),
)
