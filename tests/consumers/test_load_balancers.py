"""HAProxy and NGINX find their backends through the node's DNS, and lose them again."""

import csv
import io
import socket
import urllib.error
import urllib.request

import pytest

from .backends import backends

HAPROXY = """
global
  stats socket {dir}/admin.sock mode 600
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
resolvers callboard
  nameserver node 127.0.0.1:{dns}
  accepted_payload_size 1232
  hold valid 100ms
  hold obsolete 0s
  hold nx 100ms
  timeout resolve 100ms
  timeout retry 500ms
frontend in
  bind 127.0.0.1:{port}
  default_backend web
backend web
  balance roundrobin
  default-server resolvers callboard resolve-opts allow-dup-ip init-addr none
  server-template web 5 _web._tcp.callboard.internal
"""

NGINX = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  resolver 127.0.0.1:{dns} valid=1s ipv6=off;
  server {{
    listen 127.0.0.1:{port};
    set $backend "web.service.callboard.internal";
    location / {{ proxy_pass http://$backend:{backend}; }}
  }}
}}
"""


def answer(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as got:
            return got.read().decode()
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return str(error)


def servers_state(path):
    """Weight by port, of the servers that HAProxy has an address for."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(path)
        admin.sendall(b"show servers state web\n")
        said = b""
        while chunk := admin.recv(65536):
            said += chunk
    text = said.decode().split("\n", 1)[1].removeprefix("# ")
    rows = csv.DictReader(io.StringIO(text), delimiter=" ")
    return {
        int(row["srv_port"]): int(row["srv_uweight"])
        for row in rows
        if row["srv_addr"] not in (None, "-")
    }


@pytest.mark.foreign("haproxy")
def test_haproxy_fills_its_servers_from_srv_and_keeps_weights_apart(
    start_node, run, wait_for, free_port, tmp_path
):
    node = start_node("--srv-weight-scale", "256")
    port = free_port()
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(dir=tmp_path, dns=node.dns_port, port=port))
    with backends("one", "two", "ten") as ports:
        for name, weight in (("one", 1), ("two", 2), ("ten", 10)):
            node.register("web", name, address="127.0.0.1", port=ports[name], weight=weight)
        _, log = run("haproxy", "haproxy", "-f", str(config), "-db")
        admin = tmp_path / "admin.sock"
        wait_for(admin.exists, bool, log)
        expected = {ports["one"]: 1, ports["two"]: 2, ports["ten"]: 10}
        wait_for(lambda: servers_state(str(admin)), expected.__eq__, log)
        said = [answer(port) for _ in range(26)]
        assert {name: said.count(name) for name in ports} == {"one": 2, "two": 4, "ten": 20}
        node.deregister("web", "ten")
        del expected[ports["ten"]]
        wait_for(lambda: servers_state(str(admin)), expected.__eq__, log)
        # Where its round robin stood when a server went may favour one for a turn.
        wait_for(lambda: {answer(port) for _ in range(6)}, {"one", "two"}.__eq__, log)
        for name in ("one", "two"):
            node.deregister("web", name)
        wait_for(lambda: answer(port), lambda got: got == 503, log)


@pytest.mark.foreign("nginx")
def test_nginx_follows_a_name_from_one_backend_to_none(
    start_node, run, wait_for, free_port, tmp_path
):
    node = start_node("--dns-ttl", "0s")
    port = free_port()
    with backends("first") as ports:
        node.register("web", "first", address="127.0.0.1", port=ports["first"])
        config = tmp_path / "nginx.conf"
        config.write_text(
            NGINX.format(dir=tmp_path, dns=node.dns_port, port=port, backend=ports["first"])
        )
        _, log = run("nginx", "nginx", "-p", str(tmp_path), "-e", "stderr", "-c", str(config))
        wait_for(lambda: answer(port), "first".__eq__, log)
        node.deregister("web", "first")
        wait_for(lambda: answer(port), lambda got: got == 502, log)
        assert "could not be resolved" in log.read_text()
