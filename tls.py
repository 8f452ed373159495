"""TLS contexts of a node, made from PEM files that may be replaced while it runs."""

import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from .addresses import Address

HANDSHAKE_S_MAX: Final = 5.0
"""A handshake is two round trips: whoever needs longer is not one of ours."""

GOODBYE_S_MAX: Final = 2.0
"""How long a peer has to answer our close_notify; nothing depends on it (RFC 8446 section 6.1)."""

EXPIRES_SOON: Final = timedelta(days=14)
"""Time to renew a certificate in working hours."""

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2, forward secret and authenticated (RFC 9325 section 4.2); those of 1.3 all are."""

_log: Final = logging.getLogger("callboard.tls")


class TlsError(Exception):
    """Files cannot be used; the text is one line that names the file and the next step."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our chain, its key, and the CAs that a peer's certificate must come from.

    Without `ca` a server asks for no client certificate.
    """

    cert: str
    key: str
    ca: str | None = None


def files_of(flag: str, ca_flag: str, *given: str | None) -> TlsFiles | None:
    """`given` are cert, key and CA of `--FLAG-cert`, `--FLAG-key` and `--CA_FLAG`.

    None when none is given. Raises `TlsError` when one is missing.
    """
    cert, key, ca = given
    if cert and key:
        return TlsFiles(cert, key, ca)
    if not any(given):
        return None
    missing = f"--{flag}-cert" if not cert else f"--{flag}-key"
    told = f"--{flag}-key" if key else f"--{flag}-cert" if cert else f"--{ca_flag}"
    raise TlsError(
        f"{told} needs {missing} beside it; `callboard tls init` makes both where there are none"
    )


class ServerTls:
    """`context` stays the same object for listeners; each handshake uses the files last read."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises `TlsError`."""
        self._files = files
        self._current = server_context(files)
        self.context = server_context(files)
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read the files again. Raises `TlsError`, and goes on with what it had."""
        self._current = server_context(self._files)

    def _choose(self, connection: ssl.SSLObject, name: str | None, at: ssl.SSLContext) -> None:
        """Called in every handshake, also in those that name no server.

        OpenSSL cannot take a CA out of a context, so a changed bundle needs another one.
        """
        connection.context = self._current


class PeerTls:
    """Mutual TLS between nodes. A peer is whoever has a certificate of the one CA."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises `TlsError`."""
        if files.ca is None:
            raise TlsError("--peer-cert needs --peer-ca beside it: nodes check each other")
        self.files = files
        self._server = ServerTls(files)
        self._client = client_context(files.ca, files.cert, files.key)

    @property
    def server(self) -> ssl.SSLContext:
        """For the listener: refuses whoever shows no certificate of the CA.

        The CA alone decides: callers come from addresses that no certificate can know (NAT,
        containers), and whoever holds a key of this CA is a node.
        """
        return self._server.context

    @property
    def client(self) -> ssl.SSLContext:
        """For the next call: the host that is called must stand in the certificate's SANs."""
        return self._client

    def reload(self) -> None:
        """Read the files again. Raises `TlsError`, and goes on with what it had."""
        assert self.files.ca is not None
        client = client_context(self.files.ca, self.files.cert, self.files.key)
        self._server.reload()
        self._client = client


def reload_all(parts: Sequence[ServerTls | PeerTls]) -> None:
    """What a SIGHUP does: new files for new connections; those that are open stay."""
    for part in parts:
        try:
            part.reload()
        except TlsError as error:
            _log.error("the certificates in use stay: %s", error)
        else:
            _log.info("certificates were read again")


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Raises `TlsError`."""
    context = _hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    _load_own(context, files.cert, files.key)
    if files.ca is not None:
        _load_ca(context, files.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        # A resumed session would outlive the CA that once let it in.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def client_context(
    ca: str | None, cert: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """For servers whose name stands in their certificate. Raises `TlsError`.

    With `ca` that is the only one trusted; without, those of the system are. `key` left out, it
    is in the file of `cert`.
    """
    context = _hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_ca(context, ca)
    if cert is not None:
        _load_own(context, cert, key or cert)
    return context


def require_safe_peers(peer: Address, peers: PeerTls | None, *, insecure: bool) -> None:
    """Raises `TlsError` for a peer listener that strangers reach and nothing protects."""
    if peers is None and not insecure and not peer.is_loopback:
        raise TlsError(
            f"--peer {peer} would take orders from anybody who reaches it: give --peer-ca,"
            " --peer-cert and --peer-key (`callboard tls init` makes them), or --insecure-peers"
            " on a network that nobody else is on"
        )


def _hardened(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def _load_own(context: ssl.SSLContext, cert: str, key: str) -> None:
    for path in (cert, key):
        _readable(path)
    try:
        # OpenSSL would ask a terminal for the password that an empty one here refuses.
        context.load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(f"{cert}, {key}: {_why_unusable(error)}") from error
    _warn_of_end(cert)


def _why_unusable(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not the one of the certificate: name the pair that belongs together"
    if reason in ("BAD_DECRYPT", "BAD_PASSWORD_READ", "EMPTY_PASSWORD"):
        return "the key is encrypted: decrypt it (openssl pkey) and keep it from others (chmod 600)"
    detail = (reason or "not PEM").replace("_", " ").lower()
    return f"no PEM certificate and private key ({detail}): write both as PEM"


def _load_ca(context: ssl.SSLContext, ca: str) -> None:
    _readable(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise TlsError(f"{ca}: holds no CA certificate: write one or more as PEM") from error


def _readable(path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise TlsError(f"{path}: cannot be read ({error.strerror})") from error


def _warn_of_end(cert: str) -> None:
    from cryptography import x509

    with open(cert, "rb") as file:
        try:
            ends = x509.load_pem_x509_certificate(file.read()).not_valid_after_utc
        except ValueError:  # OpenSSL took it, so it serves; how long is for its owner to know
            return
    left = ends - datetime.now(UTC)
    if left < timedelta():
        _log.error("%s: expired on %s: clients will refuse it", cert, ends.date())
    elif left < EXPIRES_SOON:
        _log.warning("%s: expires on %s", cert, ends.date())
