"""Contexts of nodes that check each other: who is let in, and who is believed."""

import shutil
import socket
import ssl
import threading

import pytest
from callboard.certificates import Authority, parse_node
from callboard.tls import PeerTls, TlsError, TlsFiles, client_context


@pytest.fixture
def made(tmp_path):
    """`ours` has a, reached as a.example, and b; `theirs` has x."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    for node in ("a=a.example", "b"):
        ours.add_node(parse_node(node))
    theirs.add_node(parse_node("x=a.example"))
    return tmp_path


def files(directory, name, ca="ca"):
    paths = (directory / f"{name}.pem", directory / f"{name}.key", directory / f"{ca}.pem")
    return TlsFiles(*map(str, paths))


def exchanged(server, client, host):
    """What the server says after the handshake, or the error that stood in the way."""
    ours, theirs = socket.socketpair()

    def serve():
        try:
            with server.wrap_socket(theirs, server_side=True) as accepted:
                accepted.sendall(accepted.recv(1).upper())
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=host) as connected:
            connected.sendall(b"a")
            return connected.recv(1)
    finally:
        ours.close()
        thread.join()


def test_nodes_of_one_ca_believe_each_other_by_name(made):
    a, b = PeerTls(files(made / "ours", "a")), PeerTls(files(made / "ours", "b"))
    assert exchanged(a.server, b.client, "a.example") == b"A"
    assert exchanged(b.server, a.client, "127.0.0.1") == b"A"
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        exchanged(b.server, a.client, "a.example")


def test_strangers_are_neither_let_in_nor_believed(made):
    a, x = PeerTls(files(made / "ours", "a")), PeerTls(files(made / "theirs", "x"))
    with pytest.raises(ssl.SSLCertVerificationError):
        exchanged(x.server, a.client, "a.example")
    nobody = client_context(str(made / "ours/ca.pem"))
    stranger = client_context(
        str(made / "ours/ca.pem"), str(made / "theirs/x.pem"), str(made / "theirs/x.key")
    )
    for client in (nobody, stranger):
        for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client.maximum_version = newest
            with pytest.raises(OSError, match=r"(?i)alert|reset|pipe|eof"):
                exchanged(a.server, client, "a.example")


def test_a_new_ca_replaces_the_old_one_in_both_directions(made):
    shutil.copytree(made / "ours", made / "live")
    peers = PeerTls(files(made / "live", "a"))
    listener = peers.server
    b, x = PeerTls(files(made / "ours", "b")), PeerTls(files(made / "theirs", "x"))
    assert exchanged(listener, b.client, "a.example") == b"A"
    for old, new in (("a.pem", "x.pem"), ("a.key", "x.key"), ("ca.pem", "ca.pem")):
        shutil.copy(made / "theirs" / new, made / "live" / old)
    peers.reload()
    assert exchanged(listener, x.client, "a.example") == b"A"
    assert exchanged(x.server, peers.client, "a.example") == b"A"
    with pytest.raises(ssl.SSLCertVerificationError):
        exchanged(listener, b.client, "a.example")
    (made / "live/ca.pem").write_text("nothing")
    with pytest.raises(TlsError, match=r"ca\.pem: holds no CA certificate"):
        peers.reload()
    assert exchanged(listener, x.client, "a.example") == b"A"
