"""TLS on real nodes, against curl, openssl and our own clients."""

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from callboard import Client, NoServerAnswered, OutcomeUnknown
from callboard.certificates import Authority, parse_node
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

SOON_S = 20
REFUSED = (35, 52, 56)
"""curl's codes for a handshake that fails, and for a connection that ends after one in TLS 1.3."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Certificates of node-a and client-a by one CA, of stranger by another."""
    home = tmp_path_factory.mktemp("tls")
    for directory, names in (("ours", ("node-a", "client-a")), ("theirs", ("stranger",))):
        authority = Authority(home / directory)
        for name in names:
            authority.add_node(parse_node(name))
    return home


@pytest.fixture
def flags(made):
    ours = made / "ours"
    return ("--http-cert", f"{ours}/node-a.pem", "--http-key", f"{ours}/node-a.key")


def curl(node, *arguments):
    ran = subprocess.run(
        ["curl", "-sS", "--max-time", "10", *arguments, f"{node.http}/v1/status"],
        capture_output=True,
        text=True,
    )
    return ran.returncode, ran.stdout, ran.stderr


def s_client(node, *arguments, said=b""):
    return subprocess.run(
        ["openssl", "s_client", "-connect", node.http.removeprefix("https://"), *arguments],
        input=said,
        capture_output=True,
        timeout=SOON_S,
    )


def raw(node):
    host, port = node.http.removeprefix("https://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=SOON_S)


@pytest.mark.foreign("curl", "openssl")
def test_the_api_over_tls_is_for_those_who_trust_its_ca(start_node, flags, made):
    node = start_node(*flags)
    assert node.http.startswith("https://")
    code, answer, _ = curl(node, "--cacert", made / "ours/ca.pem")
    assert (code, json.loads(answer)["node"]) == (0, "node-a")
    assert curl(node, "--cacert", made / "theirs/ca.pem")[0] == 60
    assert curl(node, "--cacert", made / "ours/ca.pem", "--tls-max", "1.1")[0] == 35
    for version in ("-tls1_2", "-tls1_3"):
        shown = s_client(node, version, "-CAfile", made / "ours/ca.pem", "-verify_return_error")
        assert b"Verify return code: 0 (ok)" in shown.stdout
    # Neither RSA key exchange nor CBC is to be had.
    assert s_client(node, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384").returncode != 0


@pytest.mark.foreign("curl")
def test_with_a_client_ca_only_its_certificates_are_let_in(start_node, flags, made):
    node = start_node(*flags, "--http-client-ca", f"{made}/ours/ca.pem")
    trust = ("--cacert", made / "ours/ca.pem")

    def shown(directory, name):
        return (
            "--cert",
            made / directory / f"{name}.pem",
            "--key",
            made / directory / f"{name}.key",
        )

    assert curl(node, *trust, *shown("ours", "client-a"))[0] == 0
    for refused in ((), shown("theirs", "stranger")):
        for version in ("1.2", "1.3"):
            code, answer, _ = curl(node, *trust, *refused, "--tls-max", version)
            assert (code in REFUSED, answer) == (True, "")


@pytest.mark.foreign("curl")
def test_sighup_takes_new_files_and_keeps_the_old_when_they_are_broken(
    start_node, made, tmp_path, flags
):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path, source in ((cert, "theirs/stranger.pem"), (key, "theirs/stranger.key")):
        shutil.copy(made / source, path)
    node = start_node("--http-cert", str(cert), "--http-key", str(key))
    kept = _open(node, made / "theirs/ca.pem")

    def trusted_by():
        return [d for d in ("ours", "theirs") if not curl(node, "--cacert", made / d / "ca.pem")[0]]

    assert trusted_by() == ["theirs"]
    cert.write_text("no certificate")
    node.process.send_signal(signal.SIGHUP)
    told = _until_told(node, "certificates in use stay")
    assert str(cert) in told
    assert trusted_by() == ["theirs"]
    shutil.copy(made / "ours/node-a.pem", cert)
    shutil.copy(made / "ours/node-a.key", key)
    node.process.send_signal(signal.SIGHUP)
    _until_told(node, "read again")
    assert trusted_by() == ["ours"]
    assert _ask(kept).startswith(b"HTTP/1.1 200"), "an open connection stays as it is"
    kept.close()


@pytest.mark.foreign("curl")
def test_sighup_takes_a_client_ca_away(start_node, made, tmp_path, flags):
    ca = tmp_path / "clients.pem"
    shutil.copy(made / "theirs/ca.pem", ca)
    node = start_node(*flags, "--http-client-ca", str(ca))
    stranger = ("--cert", made / "theirs/stranger.pem", "--key", made / "theirs/stranger.key")
    assert curl(node, "--cacert", made / "ours/ca.pem", *stranger)[0] == 0
    shutil.copy(made / "ours/ca.pem", ca)
    node.process.send_signal(signal.SIGHUP)
    _until_told(node, "read again")
    assert curl(node, "--cacert", made / "ours/ca.pem", *stranger)[0] in REFUSED


@pytest.mark.foreign("curl")
def test_garbage_and_half_open_connections_harm_only_themselves(start_node, flags, made):
    node = start_node(*flags)
    half_open = [raw(node) for _ in range(50)]
    for said in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 600):
        with raw(node) as odd:
            odd.sendall(said)
            assert b"HTTP/1.1 200" not in _all_of(odd)
    half_open[0].sendall(b"\x16\x03\x01")
    assert curl(node, "--cacert", made / "ours/ca.pem")[0] == 0
    assert curl_plain(node) != 0
    for one in half_open[1:]:
        one.close()
    assert half_open[0].recv(1) == b"", "a handshake may not take for ever"
    half_open[0].close()
    node.process.send_signal(signal.SIGTERM)
    _, told = node.process.communicate(timeout=SOON_S)
    assert (node.process.returncode, "Traceback" in told) == (0, False)


def curl_plain(node):
    url = node.http.replace("https://", "http://")
    return subprocess.run(["curl", "-sS", "--max-time", "10", url], capture_output=True).returncode


def test_an_expired_certificate_is_named_on_both_sides(start_node, made, tmp_path):
    cert, key = _expired(made / "ours", tmp_path)
    node = start_node("--http-cert", str(cert), "--http-key", str(key))
    _until_told(node, "expired on")
    with (
        Client(node.http, ca=str(made / "ours/ca.pem"), timeout=3) as board,
        pytest.raises(NoServerAnswered, match="certificate has expired"),
    ):
        board.status()


def test_our_clients_trust_what_they_are_told_and_say_what_is_wrong(start_node, flags, made):
    ours = made / "ours"
    node = start_node(*flags, "--http-client-ca", str(ours / "ca.pem"))
    shown = {"cert": str(ours / "client-a.pem"), "key": str(ours / "client-a.key")}
    with (
        Client(node.http, ca=str(ours / "ca.pem"), **shown) as board,
        board.register("web", port=80, address="10.0.0.1"),
    ):
        assert [one.port for one in board.instances("web")] == [80]
    with (
        Client(node.http, **shown, timeout=3) as board,
        pytest.raises(NoServerAnswered, match=r"cannot be trusted: .*name the CA"),
    ):
        board.status()
    with Client(node.http, ca=str(ours / "ca.pem"), timeout=3) as board:
        for call in (board.status, lambda: board.kv.put("a", "b")):
            with pytest.raises((NoServerAnswered, OutcomeUnknown), match="client certificate"):
                call()


def test_the_command_line_takes_them_from_flags_and_variables(start_node, flags, made):
    ours = made / "ours"
    node = start_node(*flags, "--http-client-ca", str(ours / "ca.pem"))
    command = (sys.executable, "-m", "callboard", "services", "--json", "--server", node.http)
    by_flags = ("--ca", ours / "ca.pem", "--cert", ours / "client-a.pem", "--key")
    ran = subprocess.run([*command, *by_flags, ours / "client-a.key"], capture_output=True)
    assert ran.returncode == 0, ran.stderr
    environment = {
        "CALLBOARD_CA": str(ours / "ca.pem"),
        "CALLBOARD_CERT": str(ours / "client-a.pem"),
        "CALLBOARD_KEY": str(ours / "client-a.key"),
    }
    assert subprocess.run(command, capture_output=True, env=environment).returncode == 0
    ran = subprocess.run([*command, "--ca", made / "none.pem"], capture_output=True, text=True)
    assert (ran.returncode, "none.pem: cannot be read" in ran.stderr) == (2, True)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--http-cert", "{ours}/node-a.pem"), "--http-cert needs --http-key"),
        (("--http-client-ca", "{ours}/ca.pem"), "--http-client-ca needs --http-cert"),
        (("--http-cert", "{ours}/no.pem", "--http-key", "{ours}/node-a.key"), "no.pem: cannot be"),
        (
            ("--http-cert", "{ours}/node-a.pem", "--http-key", "{ours}/client-a.key"),
            "not the one of the certificate",
        ),
        (("--peer-cert", "{ours}/node-a.pem", "--peer-key", "{ours}/node-a.key"), "--peer-ca"),
        (("--peer", "0.0.0.0:0"), "callboard tls init.*--insecure-peers"),
    ],
)
def test_a_node_that_cannot_be_safe_does_not_start(made, tmp_path, given, told):
    words = [word.format(ours=made / "ours") for word in given]
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "callboard", "serve", "--data-dir", str(tmp_path / "data")),
            *("--http", "127.0.0.1:0", "--dns", "127.0.0.1:0", *words),
        ],
        capture_output=True,
        text=True,
        timeout=SOON_S,
    )
    assert ran.returncode == 1
    assert re.search(told, ran.stderr), ran.stderr
    assert ran.stderr.count("\n") == 1


def test_peers_beyond_loopback_need_tls_or_a_word(start_node, made, tmp_path):
    ours = made / "ours"
    start_node("--peer", "0.0.0.0:0", "--insecure-peers").stop()
    start_node(
        *("--peer", "0.0.0.0:0", "--peer-ca", f"{ours}/ca.pem"),
        *("--peer-cert", f"{ours}/node-a.pem", "--peer-key", f"{ours}/node-a.key"),
        data_dir=tmp_path / "other",
    ).stop()


@pytest.mark.foreign("curl")
def test_web_pages_of_other_sites_change_nothing(start_node):
    node = start_node()
    path = f"{node.http}/v1/services/web/instances"
    body = ("-d", '{"address": "10.0.0.1"}')

    def status(*arguments):
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *arguments, path]
        return subprocess.run(command, capture_output=True, text=True).stdout

    assert status(*body, "-H", "Sec-Fetch-Site: cross-site") == "403"
    assert status("-H", "Sec-Fetch-Site: cross-site") == "200"
    assert status(*body, "-H", "Sec-Fetch-Site: same-origin") == "201"
    assert status(*body) == "201"


def _open(node, ca):
    context = ssl.create_default_context(cafile=ca)
    return context.wrap_socket(raw(node), server_hostname="127.0.0.1")


def _ask(connection):
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    return connection.recv(4096)


def _all_of(connection):
    heard = b""
    try:
        while chunk := connection.recv(4096):
            heard += chunk
    except ConnectionError:
        pass
    return heard


def _until_told(node, words):
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        line = node.process.stderr.readline()
        if words in line:
            return line
    raise AssertionError(f"the node never said {words!r}")


def _expired(ca: Path, into: Path):
    signer = serialization.load_pem_private_key((ca / "ca.key").read_bytes(), None)
    like = x509.load_pem_x509_certificate((ca / "node-a.pem").read_bytes())
    builder = (
        x509.CertificateBuilder()
        .subject_name(like.subject)
        .issuer_name(like.issuer)
        .public_key(like.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=9))
        .not_valid_after(datetime.now(UTC) - timedelta(days=2))
    )
    for extension in like.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    cert = into / "expired.pem"
    expired = builder.sign(signer, hashes.SHA256())
    cert.write_bytes(expired.public_bytes(serialization.Encoding.PEM))
    return cert, ca / "node-a.key"
