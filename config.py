"""What a node is told: its settings, laid over each other and checked.

A flag beats its variable, the variable beats the file, the file beats the default.
"""

import re
import socket
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from .addresses import Address
from .cluster_list import ClusterList
from .dns.transfer.grants import Grant, Target
from .etcd_access import EtcdUser
from .settings import SETTINGS, Setting

PEER_DEFAULT: Final = Address("127.0.0.1", 8300)


class ConfigError(Exception):
    """A setting is wrong: the message names where it stands, what is wrong and what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """What one node is told. Addresses may have port 0: the system then chooses one."""

    name: str
    data_dir: str
    http: Address
    http_cert: str | None
    http_key: str | None
    http_client_ca: str | None
    dns: Address
    peer: Address
    """Its address in `cluster` when none was given."""
    cluster: ClusterList | None
    calls: Address
    """The host of `peer` and any free port when none was given."""
    peer_ca: str | None
    peer_cert: str | None
    peer_key: str | None
    insecure_peers: bool
    zones: tuple[str, ...]
    """Lower case, without the dot at the end."""
    ns_addresses: tuple[str, ...]
    reverse_zones: tuple[str, ...]
    dns_ttl_s: int
    srv_weight_scale: int
    dns_workers: int
    dns_max_stale_s: float
    """Infinite for no limit."""
    dns_outlive: bool
    dns_rrl: str
    dns_rrl_rate: int
    dns_rrl_slip: int
    dns_cookie_secret: str | None
    dns_nsid: str | None
    dns_chaos: str
    dns_transfer: tuple[Grant, ...]
    dns_notify: tuple[Target, ...]
    dns_tsig_key: str | None
    default_ttl_s: float
    mass_expiry_share: float
    """0.15 for 15 %."""
    mass_expiry_hold_s: float
    forward: Address | None
    etcd: tuple[str, ...] | None
    """URLs of an etcd to use; None: the node stands alone."""
    etcd_prefix: str
    etcd_ca: str | None
    etcd_cert: str | None
    etcd_key: str | None
    etcd_user: EtcdUser | None
    log_level: str
    log_format: str


def read_toml(path: str) -> dict[str, object]:
    """The keys of a settings file, still unchecked. Raises `ConfigError`."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}): name one that can, or leave --config out"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}; correct that line") from error


def resolve(
    flags: Mapping[str, Sequence[str]],
    environ: Mapping[str, str],
    file: Mapping[str, object],
    file_name: str = "",
) -> ServeConfig:
    """Lay flags over variables over the file over the defaults. Raises `ConfigError`.

    `flags` holds, by flag name, each text that was given, in order.
    """
    _refuse_unknown(file, file_name)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        where, texts = _given(setting, flags, environ, file, file_name)
        try:
            parsed = [setting.parse(text) for text in texts]
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error
        if setting.repeats:
            values[setting.attribute] = tuple(dict.fromkeys(parsed))
        else:
            values[setting.attribute] = parsed[-1] if parsed else None
    return ServeConfig(**_agreed(values))


def _agreed(values: dict[str, Any]) -> dict[str, Any]:
    """What must fit together does. Raises `ConfigError`."""
    cluster, name = values["cluster"], values["name"]
    if cluster is not None and values["etcd"] is not None:
        raise ConfigError(
            "--cluster and --etcd: an etcd is run here, or one that is there is used: give one"
        )
    if cluster is not None and name not in cluster:
        raise ConfigError(
            f"--cluster: this node, {name!r}, is not in the list of {', '.join(cluster)}:"
            " add it, or give its --name"
        )
    peer = values["peer"] or (cluster[name] if cluster else PEER_DEFAULT)
    return values | {"peer": peer, "calls": values["calls"] or Address(peer.host, 0)}


def _given(
    setting: Setting,
    flags: Mapping[str, Sequence[str]],
    environ: Mapping[str, str],
    file: Mapping[str, object],
    file_name: str,
) -> tuple[str, Sequence[str]]:
    """Where the setting stands, and its texts."""
    if given := flags.get(setting.flag):
        return f"--{setting.flag}", given
    if text := environ.get(setting.variable):
        return setting.variable, re.split(setting.separator, text.strip()) if setting.repeats else [
            text
        ]
    if setting.flag in file:
        where = f"{file_name}: {setting.flag}"
        return where, _toml_texts(setting, file[setting.flag], where)
    if setting.flag == "name":
        return "the host name (give another with --name)", [socket.gethostname()]
    return f"--{setting.flag}", [] if setting.default is None else [setting.default]


def _toml_texts(setting: Setting, value: object, where: str) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    if setting.switch and isinstance(value, bool):
        return [str(value)]
    if setting.numeric and isinstance(value, int | float) and not isinstance(value, bool):
        return [str(value)]
    if setting.repeats and isinstance(value, list) and value:
        texts = [item for item in value if isinstance(item, str)]
        if len(texts) == len(value):
            return texts
    wanted = f'"{setting.default or setting.metavar}"'
    raise ConfigError(
        f"{where}: a {type(value).__name__} cannot stand here: write {setting.flag} = {wanted}"
    )


def _refuse_unknown(file: Mapping[str, object], file_name: str) -> None:
    known = [setting.flag for setting in SETTINGS]
    for key in file:
        if key in known:
            continue
        near = get_close_matches(key.replace("_", "-"), known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(known)}"
        raise ConfigError(f"{file_name}: {key}: there is no such setting: {advice}")
