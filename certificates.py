"""A certificate authority for one cluster: its own certificate and those of its nodes."""

import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .cluster_list import parse_node_name

CA_DAYS: Final = 3650
"""Ten years: replacing a CA means visiting every node."""
NODE_DAYS: Final = 825
"""What browsers and their platforms accept of a private CA; `tls init` may be run again before."""
BACKDATED: Final = timedelta(hours=1)
"""For nodes whose clocks are behind the one that signs."""
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
"""Every node certificate holds for these, so that a client beside the node can check it, too."""

_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)


class CertificateError(Exception):
    """A certificate cannot be made; the text is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class NodeNames:
    """A node, and the host names and IP addresses under which others reach it."""

    name: str
    hosts: tuple[str, ...]


def parse_node(text: str) -> NodeNames:
    """`NAME` or `NAME=HOST,...`. Raises `ValueError` that says what to write."""
    name, _, hosts = text.partition("=")
    parse_node_name(name)
    listed = tuple(host.strip().strip("[]") for host in hosts.split(",") if host.strip())
    for host in listed:
        if ":" in host and not _is_ip(host):
            raise ValueError(f"{host!r}: write a host name or an IP address, without a port")
        if not _is_ip(host) and _HOST.fullmatch(host) is None:
            raise ValueError(f"{host!r} is no host: write a host name or an IP address")
    return NodeNames(name, listed)


class Authority:
    """`ca.pem` and `ca.key` in one directory, made when they are first needed."""

    def __init__(self, directory: Path) -> None:
        """Raises `CertificateError`."""
        self.cert_path = directory / "ca.pem"
        self.key_path = directory / "ca.key"
        self._directory = directory
        present = [path.exists() for path in (self.cert_path, self.key_path)]
        self.is_new = not any(present)
        if self.is_new:
            self._make()
        elif not all(present):
            missing = self.key_path if present[0] else self.cert_path
            raise CertificateError(f"{missing} is missing: put it back, or name another --dir")
        else:
            self._read()

    def _make(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _named("callboard CA")
        public = self._key.public_key()
        self._cert = (
            _begun(name, name, public, CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CertificateError(f"{self._directory}: {error.strerror}") from error
        _write_new(self.key_path, _pem_key(self._key), 0o600)
        _write_new(self.cert_path, _pem_cert(self._cert), 0o644)

    def _read(self) -> None:
        try:
            self._cert = x509.load_pem_x509_certificate(self.cert_path.read_bytes())
            key = serialization.load_pem_private_key(self.key_path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise CertificateError(f"{self._directory}: the CA cannot be read: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CertificateError(f"{self.key_path}: is not an EC key, so none that was made here")
        if key.public_key() != self._cert.public_key():
            raise CertificateError(f"{self.key_path} is not the key of {self.cert_path}")
        self._key = key

    def add_node(self, node: NodeNames) -> tuple[Path, Path]:
        """Write `NAME.pem` and `NAME.key`; their paths. Raises `CertificateError`."""
        cert_path = self._directory / f"{node.name}.pem"
        key_path = self._directory / f"{node.name}.key"
        for path in (cert_path, key_path):
            if path.exists():
                raise CertificateError(f"{path} exists: move it away to make another")
        key = ec.generate_private_key(ec.SECP256R1())
        both_ways = x509.ExtendedKeyUsage(
            [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        )
        subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        alternatives = x509.SubjectAlternativeName(_alternatives((node.name, *node.hosts)))
        cert = (
            _begun(_named(node.name), self._cert.subject, key.public_key(), NODE_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(both_ways, critical=False)
            .add_extension(alternatives, critical=False)
            .add_extension(subject_key, critical=False)
            .add_extension(issuer_key, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        _write_new(key_path, _pem_key(key), 0o600)
        _write_new(cert_path, _pem_cert(cert), 0o644)
        return cert_path, key_path


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternatives(hosts: Iterable[str]) -> list[x509.GeneralName]:
    return [
        x509.IPAddress(ipaddress.ip_address(host)) if _is_ip(host) else x509.DNSName(host)
        for host in dict.fromkeys((*hosts, *LOOPBACK))
    ]


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _pem_cert(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Never over a file that is there, and never readable for others in between."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except OSError as error:
        raise CertificateError(f"{path}: cannot be written ({error.strerror})") from error
