"""Whatever the ground is made of, it is taken away again, and says what it cannot do."""

import os
import shutil
import subprocess

import pytest

from . import ground

TIMED_OUT = 124


@pytest.fixture
def listed(require):
    """The namespaces of this process."""
    require("ip", "iptables", "nsenter")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")

    def names():
        said = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
        return [line for line in said.splitlines() if f"{ground.PREFIX}{os.getpid()}-" in line]

    return names


def reaches(laid, host, other):
    """A closed port refuses at once; across a cut nothing comes back."""
    connect = f"exec 3<>/dev/tcp/{laid.address(other)}/9"
    command = [*laid.inside(host), "timeout", "1", "bash", "-c", connect]
    return subprocess.run(command, capture_output=True).returncode != TIMED_OUT


def test_a_cut_is_a_cut_until_it_is_healed(listed):
    with ground.laid(["a", "b", "c"]) as laid:
        assert reaches(laid, "a", "b")
        laid.cut(["a"], ["b"])
        assert not reaches(laid, "a", "b")
        assert reaches(laid, "a", "c")
        laid.heal()
        assert reaches(laid, "a", "b")


def test_all_of_it_goes_when_the_run_is_interrupted(listed):
    def interrupted():
        with ground.laid(["a"]):
            assert listed()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not listed()


def test_without_namespaces_there_is_the_loopback_and_no_network_to_harm(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with ground.laid(["a", "b"]) as laid:
        assert laid.address("a").startswith("127.")
        assert laid.address("a") != laid.address("b")
        with pytest.raises(ground.Impossible, match="not installed: ip, iptables, nsenter"):
            laid.cut(["a"], ["b"])
