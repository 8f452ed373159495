"""`callboard tls init`: what it makes, what it leaves alone, and what openssl thinks of it."""

import stat
import subprocess

import pytest


@pytest.mark.foreign("openssl")
def test_it_makes_a_ca_and_nodes_that_openssl_takes_both_ways(callboard, tmp_path):
    home = tmp_path / "tls"
    ran = callboard("tls", "init", "--dir", home, "--node", "a=10.0.0.1,a.example", "--node", "b")
    assert ran.code == 0
    assert f"--peer-ca {home}/ca.pem --peer-cert {home}/a.pem --peer-key {home}/a.key" in ran.out
    for purpose in ("sslserver", "sslclient"):
        for name in (("-verify_ip", "10.0.0.1"), ("-verify_hostname", "a.example")):
            command = ["openssl", "verify", "-x509_strict", "-CAfile", home / "ca.pem"]
            verified = subprocess.run(
                [*command, "-purpose", purpose, *name, home / "a.pem"], capture_output=True
            )
            assert verified.returncode == 0, verified.stderr
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.glob("*.key")} == {0o600}


def test_a_ca_is_never_replaced_and_grows_nodes(callboard, tmp_path):
    assert callboard("tls", "init", "--dir", tmp_path, "--node", "a").code == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert "using the CA" in callboard("tls", "init", "--dir", tmp_path, "--node", "b").out
    again = callboard("tls", "init", "--dir", tmp_path, "--node", "a")
    assert (again.code, "a.key exists" in again.err or "a.pem exists" in again.err) == (1, True)
    assert {path: path.read_bytes() for path in before} == before
    (tmp_path / "ca.key").unlink()
    orphaned = callboard("tls", "init", "--dir", tmp_path, "--node", "c")
    assert (orphaned.code, "ca.key is missing" in orphaned.err) == (1, True)


@pytest.mark.parametrize("wrong", ["-a", "a=10.0.0.1:80", "a=b_/", "../a"])
def test_names_that_cannot_be_are_refused_before_anything_is_made(callboard, tmp_path, wrong):
    assert callboard("tls", "init", "--dir", tmp_path / "tls", "--node", wrong).code == 2
    assert not (tmp_path / "tls").exists()
