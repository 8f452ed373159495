"""Every client verb, as a process against a real node."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from dnslib import RCODE, DNSRecord

NO_SERVER = {"CALLBOARD_SERVER": "127.0.0.1:1,127.0.0.1:2", "CALLBOARD_DNS": ""}


def test_a_registration_is_printed_listed_and_taken_off(callboard, here):
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
    again = here("deregister", "web", "web-1")
    assert again.code == 1
    assert "not registered" in again.err
    assert "register it" not in again.err


def test_without_id_and_address_both_are_made(here):
    shown = json.loads(here("register", "made", "--port", 1, "--namespace", "other", "--json").out)
    assert shown["id"].startswith("made-")
    assert (shown["address"], shown["namespace"]) == ("127.0.0.1", "other")
    listed = here("instances", "made", "--json", "--namespace", "other")
    assert [i["id"] for i in json.loads(listed.out)["instances"]] == [shown["id"]]


def test_json_is_what_the_http_api_answers(here):
    shown = here("register", "shape", "--id", "s-1", "--port", 1, "--ttl", 0)
    assert '"ttl": 0,' in shown.out  # and not 0.0
    assert json.loads(here("services", "--json").out)["services"]["shape"] == {
        "instances": 1,
        "passing": 1,
        "tags": [],
    }
    [shown] = json.loads(here("instances", "shape", "--json").out)["instances"]
    assert (shown["id"], shown["expires_in"]) == ("s-1", None)
    [member] = json.loads(here("members", "--json").out)["members"]
    assert member["name"] == "node-a"


def test_a_service_that_nobody_has_is_an_empty_table(here):
    ran = here("instances", "nobody")
    assert (ran.code, len(ran.out.splitlines())) == (0, 1)
    assert "no instance of 'nobody'" in ran.err


def test_members(callboard):
    heading, row = callboard("members").out.splitlines()
    assert heading.split() == ["NAME", "ADDRESS", "ROLE", "HEALTH"]
    assert row.split()[0] == "node-a"


def test_on_a_terminal_the_table_is_drawn_and_hostile_text_is_not_obeyed(here, environment):
    here("register", "tty", "--id", "t-1", "--port", 1, "--ttl", 0, "--tag", "[red]")
    here("kv", "put", "tty/key", "\x1b[2Jgone\n")
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


def test_kv_values_go_in_and_come_out_byte_for_byte(callboard, here):
    every_byte = bytes(range(256))
    assert callboard("kv", "put", "cli/b", "-", "--flags", 7, stdin=every_byte).code == 0
    assert callboard("kv", "get", "cli/b", binary=True).out == every_byte
    assert here("kv", "put", "cli/a", "green") == (0, "", "")
    assert here("kv", "get", "cli/a").out == "green"
    assert json.loads(here("kv", "get", "cli/b", "--json").out)["Flags"] == 7
    assert callboard("kv", "list", "cli/", "--keys-only").out == "cli/a\ncli/b\n"
    assert here("kv", "list", "cl", "--separator", "/").out == "cli/\n"
    assert len(json.loads(here("kv", "list", "cli/", "--json").out)) == 2
    row = here("kv", "list", "cli/a").out.splitlines()[1].split()
    assert (row[0], row[2], row[3]) == ("cli/a", "0", "green")
    assert callboard("kv", "delete", "cli/", "--recurse") == (0, "", "")
    gone = callboard("kv", "get", "cli/a")
    assert gone.code == 1
    assert "there is no key 'cli/a'" in gone.err


def test_a_compare_and_set_that_is_lost_says_so(here):
    assert here("kv", "put", "cas", "1", "--cas", 0).code == 0
    lost = here("kv", "put", "cas", "2", "--cas", 0)
    assert lost.code == 1
    assert "read it again" in lost.err
    assert here("kv", "delete", "cas", "--cas", 1_000_000).code == 1
    index = json.loads(here("kv", "get", "cas", "--json").out)["ModifyIndex"]
    assert here("kv", "delete", "cas", "--cas", index).code == 0
    both = here("kv", "delete", "cas", "--cas", 1, "--recurse")
    assert both.code == 2


def test_a_snapshot_is_saved_never_over_another_file_and_restored(callboard, here, tmp_path):
    file = tmp_path / "board.snapshot"
    here("kv", "put", "snap/kept", "1")
    saved = callboard("snapshot", "save", file)
    assert saved.out == f"saved {file.stat().st_size} bytes to {file}\n"
    again = here("snapshot", "save", file)
    assert again.code == 1
    assert "exists" in again.err
    assert "--force" in again.err
    assert here("snapshot", "save", file, "--force").code == 0
    here("kv", "delete", "snap/kept")
    assert callboard("snapshot", "restore", file).code == 0
    assert here("kv", "get", "snap/kept").out == "1"
    file.write_bytes(b"junk")
    assert here("snapshot", "restore", file).code == 1
    assert here("snapshot", "restore", tmp_path / "nowhere").code == 2
    nowhere = here("snapshot", "save", tmp_path / "no" / "where")
    assert nowhere.code == 1
    assert "No such file" in nowhere.err
    assert [path.name for path in tmp_path.iterdir()] == ["board.snapshot"]


def test_watch_streams_lines_and_ends_well_on_ctrl_c(here, start):
    watch = start("watch", "cinema")
    assert watch.stdout.readline().startswith("snapshot  0 registered")
    here("register", "cinema", "--id", "c-1", "--address", "10.0.0.1", "--port", 80)
    assert watch.stdout.readline() == "put       cinema  c-1  10.0.0.1:80  passing\n"
    here("deregister", "cinema", "c-1")
    assert watch.stdout.readline() == "delete    cinema  c-1  deregistered\n"
    watch.send_signal(signal.SIGINT)
    assert watch.wait(20) == 0
    assert watch.stderr.read().strip() == ""


def test_watch_streams_json_lines_of_everything(here, start):
    watch = start("watch", "--json", "--namespace", "jsonns")
    first = json.loads(watch.stdout.readline())
    assert (first["kind"], first["instances"]) == ("snapshot", [])
    here("register", "j", "--id", "j-1", "--port", 80, "--namespace", "jsonns")
    event = json.loads(watch.stdout.readline())
    assert (event["kind"], event["instance"]["id"]) == ("put", "j-1")
    assert event["index"] > first["index"]


def test_a_reader_that_goes_away_ends_a_watch_quietly(here, start):
    watch = start("watch", "pipe")
    watch.stdout.readline()
    watch.stdout.close()
    here("register", "pipe", "--id", "p-1", "--port", 1)
    assert watch.wait(20) == 1
    assert watch.stderr.read() == ""


def found(run, *arguments):
    """What lookup prints, once the DNS process has heard of the registration."""
    deadline = time.monotonic() + 20
    while (ran := run("lookup", *arguments)).code != 0:
        assert time.monotonic() < deadline, ran
    return ran.out


def test_lookup_asks_the_nodes_dns(callboard, here):
    here(
        *("register", "looked", "--id", "l-1", "--address", "10.0.0.7", "--port", 80),
        *("--ttl", 0, "--meta", "zone=a"),
    )
    lines = found(callboard, "looked").splitlines()
    assert lines[0] == "looked.service.callboard.internal. 5 IN A 10.0.0.7"
    assert lines[1].split()[3:7] == ["SRV", "1", "1", "80"]
    full = found(here, "l-1.looked.instance.callboard.internal", "--type", "a", "--json")
    assert [record["data"] for record in json.loads(full)] == ["10.0.0.7"]
    assert "zone=a" in found(here, "looked", "--type", "TXT")
    here("register", "looked", "--id", "n-1", "--address", "10.0.0.8", "--namespace", "far")
    assert "10.0.0.8" in found(here, "looked", "--namespace", "far", "--type", "A")


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
def test_what_lookup_cannot_find_is_told_by_its_exit_code(here, arguments, code, told):
    ran = here("lookup", *arguments)
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert told in ran.err


def test_a_long_answer_is_fetched_over_tcp(here, node):
    instances = [
        {"op": "register", "service": "long", "id": f"i-{n}", "address": f"10.2.0.{n + 1}"}
        for n in range(120)
    ]
    body = json.dumps({"operations": instances}).encode()
    with urllib.request.urlopen(f"{node.url}/v1/batch", body) as answer:
        assert answer.status == 200
    found(here, "i-119.long.instance.callboard.internal", "--type", "A")
    assert len(found(here, "long", "--type", "A").splitlines()) == 120


def test_answers_to_another_question_are_not_believed(here):
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
        ran = here("lookup", "x", "--type", "A", "--dns", f"127.0.0.1:{port}")
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
def test_no_server_is_exit_code_3_and_one_line(here, arguments):
    ran = here(*arguments, env=NO_SERVER)
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
def test_wrong_usage_is_exit_code_2_and_one_line(here, arguments, told):
    ran = here(*arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert told in ran.err


def test_what_the_server_refuses_is_exit_code_1_and_one_line(here):
    ran = here("register", "web", "--address", "no address")
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)


def test_the_next_server_is_asked_when_one_is_dead(here, node):
    assert here("members", "--server", f"127.0.0.1:1,{node.url}").code == 0


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, ["services"]),
        (1, ["deregister", "nobody", "nobody-1"]),
        (2, ["register", "we b"]),
        (3, ["services", "--server", "127.0.0.1:1"]),
    ],
)
def test_the_exit_codes_are_those_of_the_process(callboard, code, arguments):
    assert callboard(*arguments).code == code
