"""From the URLs of members and the files that were named to where, and how, they are reached."""

import ssl
from typing import Final

from ....tls import TlsError, client_context
from ..seam import CannotStart
from .rpc import Target
from .settings import EtcdSettings

_HTTP2: Final = ["h2"]
"""Over TLS a server speaks it only with those who ask for it (RFC 7301)."""


def targets(settings: EtcdSettings) -> dict[str, Target]:
    """By URL. Raises `CannotStart` that names the flag."""
    tls = _tls_context(settings)
    return {url: _target(url, tls, settings) for url in settings.endpoints}


def _target(url: str, tls: ssl.SSLContext | None, settings: EtcdSettings) -> Target:
    if url.startswith("unix:"):
        return Target("", 0, url.removeprefix("unix:"))
    scheme, _, address = url.partition("://")
    host, _, port = address.rpartition(":")
    if scheme != "https" and (settings.ca or settings.cert):
        raise CannotStart(f"{url} would be reached without TLS: write https://, or no certificates")
    return Target(host.strip("[]"), int(port), tls=tls if scheme == "https" else None)


def _tls_context(settings: EtcdSettings) -> ssl.SSLContext | None:
    if not any(url.startswith("https:") for url in settings.endpoints):
        return None
    if (settings.cert is None) != (settings.key is None):
        raise CannotStart("--etcd-cert and --etcd-key belong together: give both")
    try:
        client_context(settings.ca)  # by itself, so that the flag which is wrong can be named
    except TlsError as error:
        raise CannotStart(f"--etcd-ca {error}") from error
    try:
        context = client_context(settings.ca, settings.cert, settings.key)
    except TlsError as error:
        is_key = settings.key != settings.cert and str(error).startswith(f"{settings.key}: ")
        raise CannotStart(f"{'--etcd-key' if is_key else '--etcd-cert'} {error}") from error
    context.set_alpn_protocols(_HTTP2)
    return context
