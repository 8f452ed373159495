"""One node as its users meet it: curl and dig against a real process that starts, dies, stops."""

import json
import os
import resource
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

WAIT_S = 15


def call(node, method, path, body=None):
    """(status, decoded answer) of one HTTP call."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(node.http + path, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def dig(node, *arguments):
    """The lines of `dig +short`."""
    command = ["dig", "+short", "+time=2", "+tries=2", "@127.0.0.1", "-p", str(node.dns_port)]
    ran = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=WAIT_S)
    return sorted(ran.stdout.split("\n")[:-1])


def wait_for(condition):
    """Poll until `condition()` is true; what it was."""
    deadline_s = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.02)
    return found


def children(node, module=""):
    """The pids of the node's child processes, or of those that run `module`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == node.process.pid and module in (process / "cmdline").read_text():
                found.append(int(process.name))
    return found


@pytest.mark.foreign("dig")
def test_registered_found_replaced_and_taken_off(start_node):
    node = start_node()
    path = "/v1/services/web/instances/web-1"
    status, instance = call(node, "PUT", path, {"address": "10.0.0.5", "port": 8080})
    assert status == 201
    assert instance["status"] == "passing"
    name = "web.service.callboard.internal"
    assert wait_for(lambda: dig(node, name, "A")) == ["10.0.0.5"]
    assert dig(node, name, "SRV") == ["1 1 8080 0a000005.addr.callboard.internal."]
    assert call(node, "PUT", path, {"address": "10.0.0.6", "port": 8080})[0] == 200
    wait_for(lambda: dig(node, name, "A") == ["10.0.0.6"])
    assert call(node, "DELETE", path)[0] == 204
    wait_for(lambda: dig(node, name, "A") == [])
    assert call(node, "DELETE", path)[0] == 404


@pytest.mark.foreign("dig")
def test_what_is_not_renewed_goes_and_what_is_renewed_stays(start_node):
    node = start_node()
    for one in ("stays", "goes"):
        body = {"address": "10.0.0.7", "port": 80, "ttl": 1}
        assert call(node, "PUT", f"/v1/services/{one}/instances/{one}-1", body)[0] == 201

    def renewed_and_gone():
        beat = call(node, "PUT", "/v1/services/stays/instances/stays-1/heartbeat")
        assert beat[0] == 200
        return call(node, "GET", "/v1/services/goes/instances/goes-1")[0] == 404

    wait_for(renewed_and_gone)
    wait_for(lambda: dig(node, "goes.service.callboard.internal", "A") == [])
    assert dig(node, "stays.service.callboard.internal", "A") == ["10.0.0.7"]
    assert call(node, "PUT", "/v1/services/goes/instances/goes-1/heartbeat")[0] == 404


@pytest.mark.foreign("dig")
def test_kill_9_loses_nothing_acknowledged(start_node):
    node = start_node()
    for number in range(50):
        body = {"address": f"10.0.1.{number}", "port": 80, "ttl": 0}
        assert call(node, "PUT", f"/v1/services/s{number}/instances/i", body)[0] == 201
    assert call(node, "PUT", "/v1/kv/a/b", "value")[1] is True
    index = call(node, "GET", "/v1/status")[1]["index"]
    node.stop(signal.SIGKILL)
    again = start_node()
    assert call(again, "GET", "/v1/status")[1]["index"] == index
    services = call(again, "GET", "/v1/services")[1]["services"]
    assert len(services) == 50
    assert dig(again, "s49.service.callboard.internal", "A") == ["10.0.1.49"]
    assert call(again, "GET", "/v1/kv/a/b")[1][0]["Key"] == "a/b"


@pytest.mark.foreign("dig")
def test_a_killed_dns_worker_comes_back_with_everything(start_node):
    node = start_node()
    body = {"address": "10.0.0.9", "port": 80, "ttl": 0}
    call(node, "PUT", "/v1/services/web/instances/web-1", body)
    wait_for(lambda: dig(node, "web.service.callboard.internal", "A"))
    [worker] = children(node, "callboard.dns.worker")
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: dig(node, "web.service.callboard.internal", "A") == ["10.0.0.9"])
    assert children(node, "callboard.dns.worker") not in ([], [worker])


@pytest.mark.foreign("dig")
def test_a_killed_writer_is_replaced_and_what_it_wrote_stays(start_node):
    node = start_node()
    body = {"address": "10.0.0.9", "port": 80, "ttl": 0}
    assert call(node, "PUT", "/v1/services/web/instances/web-1", body)[0] == 201
    [writer] = children(node, "engine.writer")
    os.kill(writer, signal.SIGKILL)
    path = "/v1/services/web/instances/web-2"
    body["address"] = "10.0.0.10"
    wait_for(lambda: call(node, "PUT", path, body)[0] in (200, 201))
    wait_for(lambda: len(dig(node, "web.service.callboard.internal", "A")) == 2)
    assert call(node, "GET", "/v1/status")[1]["writable"]
    assert children(node, "engine.writer") != [writer]
    assert node.stop() == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_0_and_leaves_no_process(start_node, signum):
    node = start_node()
    workers = children(node)
    assert len(workers) == 2, "the DNS worker and the engine's writer"
    assert node.stop(signum) == 0
    wait_for(lambda: not any(os.path.exists(f"/proc/{worker}") for worker in workers))


def test_no_child_outlives_a_killed_node(start_node):
    node = start_node()
    workers = children(node)
    node.stop(signal.SIGKILL)
    wait_for(lambda: not any(os.path.exists(f"/proc/{worker}") for worker in workers))


def test_a_stop_lets_a_blocking_read_answer(start_node):
    node = start_node()
    host, port = node.http.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as reader:
        reader.sendall(b"GET /v1/services?index=1000000&wait=5m HTTP/1.1\r\nHost: a\r\n\r\n")
        # The node takes what comes in order: when it answers this, it waits for the other.
        assert call(node, "GET", "/healthz")[0] == 200
        assert node.stop() == 0
        assert reader.recv(4096).startswith(b"HTTP/1.1 200 ")


def serve_fails(start_node, *flags, **options):
    """What a node that cannot start says, in one line."""
    with pytest.raises(AssertionError) as failure:
        start_node(*flags, **options)
    said = str(failure.value)
    assert "Traceback" not in said
    return said


def test_idle_clients_beyond_the_soft_limit_of_descriptors_shut_nobody_out(start_node):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, before[1]))
    try:
        node = start_node()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    host, port = node.http.removeprefix("http://").split(":")
    with ExitStack() as idle:
        for _ in range(200):
            idle.enter_context(socket.create_connection((host, int(port)), timeout=WAIT_S))
        assert call(node, "PUT", "/v1/kv/a", "value")[0] == 200


def test_a_second_node_on_the_same_data_is_refused(start_node):
    start_node()
    assert "in use" in serve_fails(start_node)


@pytest.mark.parametrize("flag", ["--http", "--dns"])
def test_a_taken_port_is_named(start_node, tmp_path, flag):
    node = start_node()
    port = node.dns_port if flag == "--dns" else int(node.http.rsplit(":", 1)[1])
    taken = f"127.0.0.1:{port}"
    assert taken in serve_fails(start_node, flag, taken, data_dir=tmp_path / "other")


def test_a_pause_of_the_process_expires_nobody(start_node):
    """Renewals of a stopped node wait in its sockets: it must not count the time it missed."""
    node = start_node()
    body = {"address": "10.0.0.5", "port": 80, "ttl": 3}
    call(node, "PUT", "/v1/services/web/instances/web-1", body)
    os.kill(node.process.pid, signal.SIGSTOP)
    time.sleep(4)  # the fault itself: longer than the TTL
    os.kill(node.process.pid, signal.SIGCONT)
    assert call(node, "PUT", "/v1/services/web/instances/web-1/heartbeat")[0] == 200


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB for the data directory."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this system allows no mounts")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(path):
    """Write until there is no space."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass


@pytest.mark.foreign("dig")
def test_a_full_disk_refuses_writes_and_stops_nothing_else(start_node, small_disk):
    node = start_node(data_dir=small_disk / "data")
    body = {"address": "10.0.0.5", "port": 80, "ttl": 0}
    assert call(node, "PUT", "/v1/services/web/instances/web-1", body)[0] == 201
    filler = small_disk / "filler"
    fill(filler)

    def refused():
        status, answer = call(node, "PUT", "/v1/kv/big", "v" * 100_000)
        return status == 503 and answer["error"]

    error = wait_for(refused)
    assert error["code"] == "no_quorum"
    assert "space" in error["message"]
    assert call(node, "GET", "/v1/kv/big")[0] == 404
    assert call(node, "GET", "/readyz")[0] == 503
    assert call(node, "GET", "/healthz")[0] == 200
    assert call(node, "GET", "/v1/services/web/instances/web-1")[0] == 200
    assert call(node, "PUT", "/v1/services/web/instances/web-1/heartbeat")[0] == 200
    assert dig(node, "web.service.callboard.internal", "A") == ["10.0.0.5"]
    filler.unlink()
    wait_for(lambda: call(node, "PUT", "/v1/kv/big", "v")[0] == 200)
    assert call(node, "GET", "/readyz")[0] == 200
