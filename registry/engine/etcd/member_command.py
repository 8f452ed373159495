"""The command that runs a member of etcd, tuned for a board."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..seam import CannotStart
from .versions import check_version

HEARTBEAT_MS: Final = 60
ELECTION_MS: Final = 600
"""A leader that is gone is replaced within a second on a LAN; a tenth of it is what etcd wants
between heartbeats, and a process that waits for its turn on a busy machine is not yet gone."""
TRANSACTION_OPERATIONS_MAX: Final = 1024
"""What one of our transactions holds; etcd is told twice that, for the guard and the marker."""
REQUEST_BYTES_MAX: Final = 2 * 1024 * 1024
QUOTA_BYTES: Final = 8 * 1024**3
"""The most that etcd's authors advise."""
HISTORY_KEPT: Final = "5m"
"""For nodes that reconnect; who was away for longer loads the board again."""
SNAPSHOT_ENTRIES: Final = 10_000
"""A member that is further behind gets a copy; the log in memory is bounded by it too."""
BATCH_OPERATIONS: Final = 250
"""How much is applied before etcd stores it. Its 3.4 copies what is not stored yet for every
transaction, in a buffer that has grown to the largest such batch and does not shrink: with etcd's
own 10,000, one burst makes every later transaction copy half a megabyte."""
VERSION_S_MAX: Final = 10.0

SOCKET: Final = "client:1"
"""The socket's name in the run directory: etcd wants every URL to look like `host:port`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFiles:
    """Paths of PEM files for mutual TLS between peers."""

    ca: str
    cert: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSettings:
    """`members` are names and `HOST:PORT`; `listen` is an IP address and a port."""

    name: str
    members: dict[str, str]
    token: str
    listen: str
    data_dir: Path
    joins: bool
    """Whether it joins members that are running already."""
    tls: PeerFiles | None = None
    forced: bool = False
    """Whether it forgets all other members."""

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"


def find_etcd() -> str:
    """Its path. Raises `CannotStart` when it is missing, or of a version not to be trusted."""
    path = shutil.which("etcd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/bin")
    if path is None:
        raise CannotStart(
            "--cluster needs etcd, which is not on the PATH: apt install etcd-server"
            " (or use a cluster that is there already, with --etcd)"
        )
    try:
        ran = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_S_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotStart(f"{path} --version does not answer: {error}") from error
    check_version(ran.stdout.partition("etcd Version:")[2].strip().partition("\n")[0])
    return path


def command(etcd: str, settings: MemberSettings) -> list[str]:
    """To be run in the run directory, where the client socket comes to be."""
    scheme = settings.scheme
    options = {
        "name": settings.name,
        "data-dir": settings.data_dir,
        "listen-client-urls": f"unix://{SOCKET}",
        "advertise-client-urls": f"unix://{SOCKET}",
        "listen-peer-urls": f"{scheme}://{settings.listen}",
        "initial-advertise-peer-urls": f"{scheme}://{settings.members[settings.name]}",
        "initial-cluster": ",".join(
            f"{name}={scheme}://{address}" for name, address in settings.members.items()
        ),
        "initial-cluster-token": settings.token,
        "initial-cluster-state": "existing" if settings.joins else "new",
        "heartbeat-interval": HEARTBEAT_MS,
        "election-timeout": ELECTION_MS,
        "pre-vote": "true",
        "strict-reconfig-check": "true",
        "max-txn-ops": 2 * TRANSACTION_OPERATIONS_MAX,
        "max-request-bytes": REQUEST_BYTES_MAX,
        "quota-backend-bytes": QUOTA_BYTES,
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": HISTORY_KEPT,
        "snapshot-count": SNAPSHOT_ENTRIES,
        "backend-batch-limit": BATCH_OPERATIONS,
        "logger": "zap",
        "log-outputs": "stderr",
        "log-level": "info",
    }
    if settings.tls:
        options |= {
            "peer-trusted-ca-file": settings.tls.ca,
            "peer-cert-file": settings.tls.cert,
            "peer-key-file": settings.tls.key,
            "peer-client-cert-auth": "true",
        }
    if settings.forced:
        options["force-new-cluster"] = "true"
    return [etcd, *(f"--{key}={value}" for key, value in options.items())]
