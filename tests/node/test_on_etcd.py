"""Nodes that share an etcd: each shows what is signed in at the other."""

import json
import subprocess
import sys
import urllib.request

import pytest

pytestmark = pytest.mark.foreign("etcd", "etcdctl", "dig")


def call(node, method, path, body=None):
    request = urllib.request.Request(
        f"{node.http}/v1/{path}", method=method, data=body and json.dumps(body).encode()
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def addresses(node, name):
    ran = subprocess.run(
        ["dig", "+short", "@127.0.0.1", "-p", str(node.dns_port), name],
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(ran.stdout.split())


def test_two_nodes_show_each_other_s_registrations(start_node, etcd, tmp_path):
    flags = ("--etcd", etcd.url, "--etcd-prefix", str(tmp_path))
    a = start_node(*flags, "--name", "a", data_dir=tmp_path / "a")
    b = start_node(*flags, "--name", "b", data_dir=tmp_path / "b")
    for node, address in ((a, "10.0.0.1"), (b, "10.0.0.2")):
        call(node, "PUT", f"services/web/instances/{address[-1]}", {"address": address, "port": 80})
    for node in (a, b):
        # A strong read is no older than what the other node has answered.
        shown = call(node, "GET", "services/web/instances?consistency=strong")["instances"]
        assert sorted(one["address"] for one in shown) == ["10.0.0.1", "10.0.0.2"]
        assert addresses(node, "web.service.callboard.internal") == ["10.0.0.1", "10.0.0.2"]
        status = call(node, "GET", "status")
        assert (status["engine"], status["writable"]) == ("etcd", True)
    assert a.stop() == b.stop() == 0
    assert not (tmp_path / "a").exists()


def test_an_etcd_that_is_not_there_is_one_clear_line(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "callboard", "serve", "--etcd", "http://127.0.0.1:1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "http://127.0.0.1:1 cannot be reached" in ran.stderr
