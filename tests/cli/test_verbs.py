"""Every client verb, as a process against a real node."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading

import pytest
from dnslib import RCODE, DNSRecord

NO_SERVER = {"CALLBOARD_SERVER": "127.0.0.1:1,127.0.0.1:2", "CALLBOARD_DNS": ""}


def test_a_registration_is_printed_listed_and_taken_off(callboard):
    ran = callboard(
        *("register", "web", "--id", "web-1", "--address", "10.0.0.5", "--port", 8080),
        *("--tag", "v2", "--tag", "v3", "--meta", "zone=a", "--meta", "k=x=y", "--ttl", "2m"),
        *("--named-port", "metrics=9100", "--named-port", "dns=53/udp"),
        *("--weight", 3, "--priority", 2, "--status", "warning"),
    )
    assert (ran.code, ran.err) == (0, "")
    shown = json.loads(ran.out)
    assert shown["ports"] == {
        "metrics": {"port": 9100, "protocol": "tcp"},
        "dns": {"port": 53, "protocol": "udp"},
    }
    assert shown["meta"] == {"zone": "a", "k": "x=y"}
    assert (shown["ttl"], shown["weight"], shown["priority"]) == (120, 3, 2)
    [line] = [line for line in callboard("services").out.splitlines() if line.startswith("web ")]
    assert line.split() == ["web", "1", "1", "v2,v3"]
    lines = callboard("instances", "web", "--passing", "--tag", "v2", "--meta", "zone=a").out
    heading, row = lines.splitlines()
    assert heading.split() == ["ID", "ADDRESS", "STATUS", "TAGS", "EXPIRES"]
    assert row.split()[:4] == ["web-1", "10.0.0.5:8080", "warning", "v2,v3"]
    assert heading.index("STATUS") == row.index("warning")
    assert callboard("deregister", "web", "web-1") == (0, "", "")
    again = callboard("deregister", "web", "web-1")
    assert again.code == 1
    assert "not registered" in again.err


def test_without_id_and_address_both_are_made(callboard):
    shown = json.loads(callboard("register", "made", "--port", 1, "--namespace", "other").out)
    assert shown["id"].startswith("made-")
    assert (shown["address"], shown["namespace"]) == ("127.0.0.1", "other")
    listed = callboard("instances", "made", "--json", env={"CALLBOARD_NAMESPACE": "other"})
    assert [i["id"] for i in json.loads(listed.out)["instances"]] == [shown["id"]]


def test_json_is_what_the_http_api_answers(callboard):
    callboard("register", "shape", "--id", "s-1", "--port", 1, "--ttl", 0)
    assert json.loads(callboard("services", "--json").out)["services"]["shape"] == {
        "instances": 1,
        "passing": 1,
        "tags": [],
    }
    [shown] = json.loads(callboard("instances", "shape", "--json").out)["instances"]
    assert (shown["id"], shown["expires_in"]) == ("s-1", None)
    [member] = json.loads(callboard("members", "--json").out)["members"]
    assert member["name"] == "node-a"


def test_a_service_that_nobody_has_is_an_empty_table(callboard):
    ran = callboard("instances", "nobody")
    assert (ran.code, len(ran.out.splitlines())) == (0, 1)
    assert "no instance of 'nobody'" in ran.err


def test_members(callboard):
    heading, row = callboard("members").out.splitlines()
    assert heading.split() == ["NAME", "ADDRESS", "ROLE", "HEALTH"]
    assert row.split()[0] == "node-a"


def test_on_a_terminal_the_table_is_drawn_and_hostile_text_is_not_obeyed(callboard, environment):
    callboard("register", "tty", "--id", "t-1", "--port", 1, "--ttl", 0, "--tag", "[red]")
    callboard("kv", "put", "tty/key", "\x1b[2Jgone\n")
    ours, theirs = pty.openpty()
    for arguments, expected in (
        (["instances", "tty"], ["t-1", "[red]"]),
        (["kv", "list", "tty/"], ["\\x1b[2Jgone\\n"]),
    ):
        subprocess.run(
            [sys.executable, "-m", "callboard", *arguments],
            stdout=theirs,
            env={**environment, "TERM": "xterm", "COLUMNS": "120"},
            check=True,
        )
        drawn = os.read(ours, 65536).decode()
        assert all(text in drawn for text in expected)
        assert "\x1b[2J" not in drawn
    os.close(ours)
    os.close(theirs)


def test_kv_values_go_in_and_come_out_byte_for_byte(callboard):
    assert callboard("kv", "put", "cli/a", "green") == (0, "", "")
    assert callboard("kv", "get", "cli/a").out == "green"
    every_byte = bytes(range(256))
    assert callboard("kv", "put", "cli/b", "-", "--flags", 7, stdin=every_byte).code == 0
    assert callboard("kv", "get", "cli/b", binary=True).out == every_byte
    assert json.loads(callboard("kv", "get", "cli/b", "--json").out)["Flags"] == 7
    assert callboard("kv", "list", "cli/", "--keys-only").out == "cli/a\ncli/b\n"
    assert callboard("kv", "list", "cl", "--separator", "/").out == "cli/\n"
    assert len(json.loads(callboard("kv", "list", "cli/", "--json").out)) == 2
    row = callboard("kv", "list", "cli/a").out.splitlines()[1].split()
    assert (row[0], row[2], row[3]) == ("cli/a", "0", "green")
    assert callboard("kv", "delete", "cli/", "--recurse") == (0, "", "")
    gone = callboard("kv", "get", "cli/a")
    assert gone.code == 1
    assert "there is no key 'cli/a'" in gone.err


def test_a_compare_and_set_that_is_lost_says_so(callboard):
    assert callboard("kv", "put", "cas", "1", "--cas", 0).code == 0
    lost = callboard("kv", "put", "cas", "2", "--cas", 0)
    assert lost.code == 1
    assert "read it again" in lost.err
    assert callboard("kv", "delete", "cas", "--cas", 1_000_000).code == 1
    index = json.loads(callboard("kv", "get", "cas", "--json").out)["ModifyIndex"]
    assert callboard("kv", "delete", "cas", "--cas", index).code == 0
    both = callboard("kv", "delete", "cas", "--cas", 1, "--recurse")
    assert both.code == 2


def test_a_snapshot_is_saved_never_over_another_file_and_restored(callboard, tmp_path):
    file = tmp_path / "board.snapshot"
    callboard("kv", "put", "snap/kept", "1")
    saved = callboard("snapshot", "save", file)
    assert saved.out == f"saved {file.stat().st_size} bytes to {file}\n"
    again = callboard("snapshot", "save", file)
    assert again.code == 1
    assert "exists" in again.err
    assert callboard("snapshot", "save", file, "--force").code == 0
    callboard("kv", "delete", "snap/kept")
    assert callboard("snapshot", "restore", file).code == 0
    assert callboard("kv", "get", "snap/kept").out == "1"
    file.write_bytes(b"junk")
    assert callboard("snapshot", "restore", file).code == 1
    assert callboard("snapshot", "restore", tmp_path / "nowhere").code == 2
    nowhere = callboard("snapshot", "save", tmp_path / "no" / "where")
    assert nowhere.code == 1
    assert "No such file" in nowhere.err
    assert [path.name for path in tmp_path.iterdir()] == ["board.snapshot"]


def test_watch_streams_lines_and_ends_well_on_ctrl_c(callboard, start):
    watch = start("watch", "cinema")
    assert watch.stdout.readline().startswith("snapshot  0 registered")
    callboard("register", "cinema", "--id", "c-1", "--address", "10.0.0.1", "--port", 80)
    assert watch.stdout.readline() == "put       cinema  c-1  10.0.0.1:80  passing\n"
    callboard("deregister", "cinema", "c-1")
    assert watch.stdout.readline() == "delete    cinema  c-1  deregistered\n"
    watch.send_signal(signal.SIGINT)
    assert watch.wait(20) == 0
    assert watch.stderr.read().strip() == ""


def test_watch_streams_json_lines_of_everything(callboard, start):
    watch = start("watch", "--json", "--namespace", "jsonns")
    first = json.loads(watch.stdout.readline())
    assert (first["kind"], first["instances"]) == ("snapshot", [])
    callboard("register", "j", "--id", "j-1", "--port", 80, "--namespace", "jsonns")
    event = json.loads(watch.stdout.readline())
    assert (event["kind"], event["instance"]["id"]) == ("put", "j-1")
    assert event["index"] > first["index"]


def test_a_reader_that_goes_away_ends_a_watch_quietly(callboard, start):
    watch = start("watch", "pipe")
    watch.stdout.readline()
    watch.stdout.close()
    callboard("register", "pipe", "--id", "p-1", "--port", 1)
    assert watch.wait(20) == 1
    assert watch.stderr.read() == ""


def test_lookup_asks_the_nodes_dns(callboard):
    callboard(
        *("register", "looked", "--id", "l-1", "--address", "10.0.0.7", "--port", 80),
        *("--ttl", 0, "--meta", "zone=a"),
    )
    lines = callboard("lookup", "looked").out.splitlines()
    assert lines[0] == "looked.service.callboard.internal. 5 IN A 10.0.0.7"
    assert lines[1].split()[3:7] == ["SRV", "1", "1", "80"]
    full = callboard("lookup", "l-1.looked.instance.callboard.internal", "--type", "a", "--json")
    assert [record["data"] for record in json.loads(full.out)] == ["10.0.0.7"]
    assert "zone=a" in callboard("lookup", "looked", "--type", "TXT").out
    callboard("register", "looked", "--id", "n-1", "--address", "10.0.0.8", "--namespace", "far")
    assert "10.0.0.8" in callboard("lookup", "looked", "--namespace", "far", "--type", "A").out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nobody-there"], 1, "NXDOMAIN"),
        (["www.example.org"], 1, "REFUSED"),
        (["service.callboard.internal"], 1, "no record of the type"),
        (["a..b"], 2, "no domain name"),
        (["web", "--dns", "127.0.0.1"], 2, "--dns: '127.0.0.1' is not HOST:PORT"),
        (["web", "--dns", "127.0.0.1:1"], 3, "connection refused"),
        (["web", "--type", "MX"], 2, "is not one of"),
    ],
)
def test_what_lookup_cannot_find_is_told_by_its_exit_code(callboard, arguments, code, told):
    ran = callboard("lookup", *arguments)
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert told in ran.err


def test_a_long_answer_is_fetched_over_tcp(callboard):
    for n in range(60):
        name = f"long-{n}-{'x' * 40}"
        callboard_arguments = ("--id", name, "--address", f"10.1.0.{n + 1}", "--ttl", 0)
        assert n or callboard("register", "long", *callboard_arguments).code == 0
    batch = {
        "operations": [
            {"op": "register", "service": "long", "id": f"i-{n}", "address": f"10.2.0.{n + 1}"}
            for n in range(120)
        ]
    }
    _post(callboard, batch)
    found = callboard("lookup", "long", "--type", "A")
    assert len(found.out.splitlines()) == 121


def _post(callboard, batch):
    """The batch call has no verb: the environment of the fixture knows the server."""
    import urllib.request

    url = callboard.__closure__ and _server_of(callboard)
    request = urllib.request.Request(f"{url}/v1/batch", json.dumps(batch).encode(), method="POST")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def _server_of(callboard):
    cells = [cell.cell_contents for cell in callboard.__closure__]
    return next(cell["CALLBOARD_SERVER"] for cell in cells if isinstance(cell, dict))


def test_answers_to_another_question_are_not_believed(callboard):
    """A wrong id, a wrong name and junk come first; the true answer is waited for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as liar:
        liar.bind(("127.0.0.1", 0))

        def lie():
            data, peer = liar.recvfrom(4096)
            query = DNSRecord.parse(data)
            wrong = query.reply()
            wrong.header.id ^= 1
            other = DNSRecord.question("other.name", "A").reply()
            other.header.id = query.header.id
            true = query.reply()
            true.header.rcode = RCODE.NXDOMAIN
            for message in (b"junk", wrong.pack(), other.pack(), data, true.pack()):
                liar.sendto(message, peer)

        lying = threading.Thread(target=lie)
        lying.start()
        port = liar.getsockname()[1]
        ran = callboard("lookup", "x", "--type", "A", "--dns", f"127.0.0.1:{port}")
        lying.join()
    assert ran.code == 1
    assert "NXDOMAIN" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["register", "web", "--port", "1"],
        ["deregister", "web", "web-1"],
        ["services"],
        ["instances", "web"],
        ["watch"],
        ["kv", "get", "k"],
        ["kv", "put", "k", "v"],
        ["kv", "delete", "k"],
        ["kv", "list"],
        ["members"],
        ["snapshot", "save", "/tmp/never-written.snapshot"],
        ["lookup", "web", "--dns", "127.0.0.1:1"],
    ],
    ids=" ".join,
)
def test_no_server_is_exit_code_3_and_one_line(callboard, arguments):
    ran = callboard(*arguments, env=NO_SERVER)
    assert (ran.code, ran.out, ran.err.count("\n")) == (3, "", 1)
    assert "refused" in ran.err
    assert "--server" in ran.err or "--dns" in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["register", "we b"], "service: 'we b' is no name"),
        (["register", "web", "--port", "0"], "--port"),
        (["register", "web", "--meta", "x"], "is not KEY=VALUE"),
        (["register", "web", "--named-port", "x=0"], "is not NAME=PORT"),
        (["register", "web", "--ttl", "soon"], "is not a duration"),
        (["services", "--server", "ftp://x"], "is no server"),
        (["services", "--timeout", "-1"], "is not a duration"),
        (["kv", "put", "k"], "Missing argument 'VALUE'"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_line(callboard, arguments, told):
    ran = callboard(*arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert told in ran.err


def test_what_the_server_refuses_is_exit_code_1_and_one_line(callboard):
    ran = callboard("register", "web", "--address", "no address")
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)


def test_the_next_server_is_asked_when_one_is_dead(callboard, node):
    assert callboard("members", "--server", f"127.0.0.1:1,{node.url}").code == 0
