"""A container of a real Docker engine resolves and reaches what is registered.

Engine, bridge and node stand in a network namespace of their own, so that the node may have the
port 53 that `docker run --dns` means.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SUBNET = "10.213.7"
BRIDGE_ADDRESS = f"{SUBNET}.1"
BRIDGE = "cbtest0"
SERVICE = "web.service.callboard.internal"


@pytest.fixture
def namespace():
    """A network namespace with a bridge in it; skips where none may be made."""
    name = f"cbdocker{os.getpid()}"
    # `ip netns exec` would hide the control groups, which are mounted below the /sys it replaces.
    within = ("nsenter", f"--net=/run/netns/{name}")
    steps = (
        ("ip", "netns", "add", name),
        (*within, "ip", "link", "set", "lo", "up"),
        (*within, "ip", "link", "add", BRIDGE, "type", "bridge"),
        (*within, "ip", "addr", "add", f"{BRIDGE_ADDRESS}/24", "dev", BRIDGE),
        (*within, "ip", "link", "set", BRIDGE, "up"),
    )
    try:
        for step in steps:
            made = subprocess.run(step, capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"no bridge in a namespace can be had here: {made.stderr.strip()}")
        yield within
    finally:
        subprocess.run(("ip", "netns", "del", name), capture_output=True)


@pytest.fixture
def docker(namespace, run, wait_for):
    """`docker(...)` on an engine of our own; skips with its reason where it cannot run."""
    # Short: containerd's sockets stand deep below it, and the kernel takes 108 bytes of path.
    home = Path(tempfile.mkdtemp(prefix="cbdocker-"))
    socket_url = f"unix://{home}/docker.sock"
    engine, log = run(
        *("dockerd", *namespace, "dockerd", "--storage-driver=vfs", f"--bridge={BRIDGE}"),
        *("--iptables=false", "--ip6tables=false", "--ip-masq=false", "--userland-proxy=false"),
        *(f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid"),
        *("-H", socket_url),
    )

    def docker(*arguments, **options):
        command = ("docker", "-H", socket_url, *arguments)
        return subprocess.run(command, capture_output=True, timeout=60, **options)

    try:
        wait_for(lambda: engine.poll() is not None or docker("info").returncode == 0, bool, log)
        if engine.poll() is not None:
            pytest.skip(f"dockerd cannot run here: {log.read_text().splitlines()[-1]}")
        yield docker
        if left := docker("ps", "-aq", text=True).stdout.split():
            docker("rm", "-f", *left)
    finally:
        ended(engine)
        # What an engine leaves mounted would be in the way of whoever clears the directory.
        wait_for(lambda: not unmounted(home), bool, log)
        shutil.rmtree(home)


def ended(engine):
    engine.terminate()
    try:
        engine.wait(timeout=20)
    except subprocess.TimeoutExpired:
        engine.kill()
        engine.wait()


def unmounted(home):
    """The mounts below `home` that were there, and have been taken away."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    below = [point for point in reversed(points) if point.startswith(str(home))]
    for point in below:
        subprocess.run(("umount", "-l", point))
    return below


@pytest.fixture
def image(docker, tmp_path):
    """busybox and nothing else."""
    root = tmp_path / "image"
    (root / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    for applet in ("sh", "nslookup", "wget"):
        (root / "bin" / applet).symlink_to("busybox")
    packed = subprocess.run(("tar", "-C", root, "-c", "."), capture_output=True, check=True).stdout
    imported = docker("import", "-", "callboard-test:1", input=packed)
    assert imported.returncode == 0, imported.stderr
    return "callboard-test:1"


@pytest.mark.foreign("dockerd", "docker", "busybox", "curl", "ip", "nsenter", "tar")
def test_a_container_reaches_what_is_registered(
    namespace, docker, image, start_node, run, wait_for, tmp_path
):
    node = start_node(http=f"{BRIDGE_ADDRESS}:0", dns=f"{BRIDGE_ADDRESS}:53", within=namespace)
    (tmp_path / "www").mkdir()
    (tmp_path / "www/who").write_text("the backend")
    _, log = run(
        *("httpd", *namespace, "busybox", "httpd", "-f", "-p", f"{BRIDGE_ADDRESS}:8080"),
        *("-h", str(tmp_path / "www")),
    )
    url = f"http://{node.http}/v1/services/web/instances/a"

    def call(*arguments):
        command = (*namespace, "curl", "-sSf", *arguments, url)
        subprocess.run(command, check=True, capture_output=True)

    call("-X", "PUT", "-d", f'{{"address": "{BRIDGE_ADDRESS}", "port": 8080, "ttl": 0}}')

    def inside(*command):
        ran = docker("run", "--rm", f"--dns={BRIDGE_ADDRESS}", image, *command, text=True)
        return ran.stdout + ran.stderr

    assert f"Address: {BRIDGE_ADDRESS}\n" in inside("nslookup", SERVICE).split("Name:")[-1]
    page = ("wget", "-q", "-O", "-", f"http://{SERVICE}:8080/who")
    wait_for(lambda: inside(*page), "the backend".__eq__, log)
    call("-X", "DELETE")
    wait_for(lambda: inside("nslookup", SERVICE), lambda said: "NXDOMAIN" in said, log)
    assert "bad address" in inside(*page)
