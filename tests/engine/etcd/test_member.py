"""The member of etcd that a node runs: its command, its log, and whose data it has."""

import asyncio
import logging

import msgspec
import pytest
from callboard.registry.engine import CannotStart
from callboard.registry.engine.etcd import (
    Membership,
    PeerFiles,
    forming,
    member_command,
    peers,
)
from callboard.registry.engine.etcd import member as supervising
from callboard.registry.engine.etcd.member import EtcdMember
from callboard.registry.engine.etcd.member_command import MemberSettings, command
from callboard.registry.engine.etcd.member_log import LINE_BYTES_MAX, Lines, cause, read_line
from callboard.registry.engine.etcd.membership import (
    RECORD_FILE,
    check_same,
    record,
    recorded,
)

ABC = {"a": "10.0.0.1:1", "b": "10.0.0.2:1", "c": "10.0.0.3:1"}


def test_lists_in_another_order_are_the_same_cluster_and_others_are_not():
    token = Membership("a", ABC).token
    assert Membership("b", dict(reversed(ABC.items()))).token == token
    assert Membership("a", ABC | {"c": "10.0.0.4:1"}).token != token
    assert Membership("a", {"a": ABC["a"], "b": ABC["b"]}).token != token


def test_what_a_node_joined_is_remembered_and_compared(tmp_path):
    assert recorded(tmp_path) is None
    joined = Membership("a", ABC)
    record(tmp_path, joined)
    assert recorded(tmp_path) == joined
    check_same(joined, Membership("a", dict(reversed(ABC.items()))), tmp_path)
    with pytest.raises(CannotStart, match="is the data directory of node 'a', not of 'b'"):
        check_same(joined, Membership("b", ABC), tmp_path)
    with pytest.raises(
        CannotStart, match=r"--cluster a=10\.0\.0\.1:1,b=10\.0\.0\.2:1,c=10\.0\.0\.3:1"
    ):
        check_same(joined, Membership("a", {"a": "10.0.0.1:1"}), tmp_path)


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"name": "a"}', b"\xff"])
def test_a_damaged_record_is_named(tmp_path, damaged):
    (tmp_path / RECORD_FILE).write_bytes(damaged)
    with pytest.raises(CannotStart, match="is damaged"):
        recorded(tmp_path)


def member(name, address, **fields):
    return {"name": name, "peerURLs": [f"http://{address}"], **fields}


def test_who_was_added_joins_the_members_that_run():
    given = Membership("d", ABC | {"d": "10.0.0.4:1"})
    running = [member("a", ABC["a"]), member("c", ABC["c"]), member("", "10.0.0.4:1")]
    members = {"a": ABC["a"], "c": ABC["c"], "d": "10.0.0.4:1"}
    assert forming._as_known(running, given) == (members, True)


def test_one_of_the_first_that_comes_late_forms_the_cluster_with_the_others():
    running = [member(name, address) for name, address in ABC.items()]
    assert forming._as_known(running, Membership("b", ABC)) == (ABC, False)


def test_who_was_not_added_is_told_what_to_do():
    given = Membership("d", ABC | {"d": "10.0.0.4:1"})
    with pytest.raises(CannotStart, match=r"members add d 10\.0\.0\.4:1"):
        forming._as_known([member("a", ABC["a"])], given)


def test_a_list_that_was_corrected_after_a_change_of_members_is_the_same_cluster():
    abd = {"a": ABC["a"], "b": ABC["b"], "d": "10.0.0.4:1"}
    running = [member(name, address) for name, address in abd.items()]
    was = Membership("a", ABC)
    assert forming._is_current(running, was, Membership("a", abd))
    assert not forming._is_current(running, was, Membership("a", ABC))
    assert not forming._is_current(running, was, Membership("b", abd))


def settings(tmp_path, **fields):
    given = {
        "name": "a",
        "members": ABC,
        "token": "t",
        "listen": "10.0.0.1:1",
        "data_dir": tmp_path,
        "joins": False,
    }
    return MemberSettings(**given | fields)


def test_clients_reach_a_member_by_its_socket_alone(tmp_path):
    options = dict(part.partition("=")[::2] for part in command("etcd", settings(tmp_path))[1:])
    assert options["--listen-client-urls"] == "unix://client:1"
    assert options["--listen-peer-urls"] == "http://10.0.0.1:1"
    assert options["--initial-cluster-state"] == "new"
    assert int(options["--max-txn-ops"]) > member_command.TRANSACTION_OPERATIONS_MAX


def test_with_certificates_peers_speak_tls_and_show_theirs(tmp_path):
    tls = PeerFiles(ca="ca", cert="cert", key="key")
    said = command("etcd", settings(tmp_path, tls=tls, joins=True))
    assert "--peer-client-cert-auth=true" in said
    assert "--peer-trusted-ca-file=ca" in said
    assert "--initial-cluster-state=existing" in said
    assert not any("http://" in part for part in said)


@pytest.mark.parametrize(
    ("raw", "level", "text"),
    [
        (b'{"level":"warn","ts":1,"caller":"x","msg":"slow","took":"2s"}', 30, "slow (took 2s)"),
        (b'{"level":"info","msg":"started"}', 10, "started"),
        (b'{"level":"fatal","msg":"no"}', 50, "no"),
        (b'{"level":"warn","msg":"stopped TCP streaming connection with remote peer"}', 10, None),
        (b"panic: runtime error", 50, "panic: runtime error"),
        (b"main.main()", 40, "main.main()"),
        (b"[1, 2]", 40, "[1, 2]"),
        (b"\xff\xfe", 40, "\ufffd\ufffd"),
        (b'{"level":"new","msg":"m","n":{"a":1}}', logging.INFO, 'm (n {"a": 1})'),
    ],
)
def test_its_lines_become_log_records(raw, level, text):
    line = read_line(raw)
    assert line.level == level
    assert text is None or line.text == text


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([b'{"level":"info","msg":"hello"}'], None),
        ([b'{"level":"warn","msg":"slow"}', b'{"level":"info","msg":"bye"}'], "slow"),
        ([b'{"level":"error","msg":"long ago"}', b'{"level":"warn","msg":"slow"}'], "slow"),
        ([b'{"level":"fatal","msg":"no space"}', b'{"level":"warn","msg":"closed"}'], "no space"),
        ([b"panic: index out of range", b"goroutine 1 [running]:"], "panic: index out of range"),
    ],
)
def test_the_reason_of_an_end_is_what_it_said_before_the_stack(said, told):
    known = None
    for raw in said:
        known = cause(known, read_line(raw))
    assert (known and known.text) == told


def test_a_stream_is_cut_into_lines_whatever_pieces_it_comes_in():
    text = b"".join(msgspec.json.encode({"n": n}) + b"\n" for n in range(50))
    for size in (1, 7, 64, 1000):
        lines = Lines()
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        cut = [line for piece in pieces for line in lines.feed(piece)]
        assert [msgspec.json.decode(line)["n"] for line in cut] == list(range(50))


def test_a_line_without_an_end_is_not_kept_for_ever():
    lines = Lines()
    got = [line for _ in range(10) for line in lines.feed(b"x" * LINE_BYTES_MAX)]
    assert sum(map(len, got)) >= 9 * LINE_BYTES_MAX
    assert max(map(len, got)) <= 2 * LINE_BYTES_MAX


async def test_a_member_that_cannot_even_be_started_is_tried_again(tmp_path, until, monkeypatch):
    monkeypatch.setattr(supervising, "RESTART_S_MIN", 0.01)
    monkeypatch.setattr(supervising, "RESTART_S_MAX", 0.05)
    starts, program, run_dir = tmp_path / "starts", tmp_path / "etcd", tmp_path / "run"
    program.write_text(f"#!/bin/sh\necho >> {starts}\n")
    program.chmod(0o700)
    run_dir.mkdir()
    member = EtcdMember(str(program), settings(tmp_path), run_dir)
    await member.start()
    try:
        await until(starts.exists)
        run_dir.rename(tmp_path / "away")
        await until(lambda: "could not be started" in member.ailment)
        tried = starts.read_text()
        (tmp_path / "away").rename(run_dir)
        await until(lambda: starts.read_text() != tried)
    finally:
        await member.close()


async def test_whoever_speaks_no_http_knows_of_no_members():
    async def greet(reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await peers.listed([f"127.0.0.1:{port}"], None) is None
