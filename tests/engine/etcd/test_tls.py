"""An etcd that shows a certificate, and wants to see one."""

import datetime
import ipaddress

import pytest
from callboard.registry.engine import CannotStart, Done, Put
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

pytestmark = pytest.mark.foreign("etcd", "etcdctl")

LOOPBACK = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])


def name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


class Authority:
    """Signs certificates into a directory; `paths` of each are its flags' values."""

    def __init__(self, directory, text):
        directory.mkdir()
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name(text)
        self.ca = directory / "ca.pem"
        ca = self._signed(self.name, self.key.public_key(), x509.BasicConstraints(True, None))
        self.ca.write_bytes(ca)

    def issue(self, text):
        key = ec.generate_private_key(ec.SECP256R1())
        cert_path, key_path = self.directory / f"{text}.pem", self.directory / f"{text}.key"
        cert_path.write_bytes(self._signed(name(text), key.public_key(), LOOPBACK))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(cert_path), str(key_path)

    def _signed(self, subject, public_key, extension):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder(self.name, subject, public_key, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(extension, critical=False)
        )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def secured(etcd_member, tmp_path):
    """An etcd over TLS, and the authority that both sides trust."""
    authority = Authority(tmp_path / "tls", "board")
    cert, key = authority.issue("etcd")
    member = etcd_member(
        tmp_path / "etcd", "one",
        "--cert-file", cert, "--key-file", key,
        "--client-cert-auth", "--trusted-ca-file", str(authority.ca),
    )  # fmt: skip
    member.url = member.url.replace("http:", "https:")
    member.start()
    yield member, authority
    member.stop()


async def test_both_sides_show_certificates(secured, open_board):
    member, authority = secured
    cert, key = authority.issue("node")
    engine = await open_board(member, ca=str(authority.ca), cert=cert, key=key, start_s_max=20)
    assert isinstance((await engine.commit([Put(b"a", b"")]))[0], Done)
    assert [one.healthy for one in await engine.members()] == [True]


async def test_a_node_without_a_certificate_or_with_a_stranger_s_ca_stays_out(
    secured, open_board, tmp_path
):
    member, authority = secured
    cert, key = authority.issue("node")
    stranger = Authority(tmp_path / "stranger", "stranger")
    await open_board(member, ca=str(authority.ca), cert=cert, key=key, start_s_max=20)
    for flags in (
        {"ca": str(authority.ca)},
        {"ca": str(stranger.ca), "cert": cert, "key": key},
    ):
        with pytest.raises(CannotStart, match="cannot be"):
            await open_board(member, **flags, start_s_max=0)


async def test_what_is_wrong_with_the_files_is_said_at_once(secured, open_board, tmp_path):
    member, authority = secured
    cert, _ = authority.issue("node")
    with pytest.raises(CannotStart, match="--etcd-cert and --etcd-key belong together"):
        await open_board(member, ca=str(authority.ca), cert=cert)
    with pytest.raises(CannotStart, match=r"--etcd-ca .*cannot be read"):
        await open_board(member, ca=str(tmp_path / "none"))
    member.url = member.url.replace("https:", "http:")
    with pytest.raises(CannotStart, match="without TLS"):
        await open_board(member, ca=str(authority.ca))
