"""The control of the power cut: it loses what was not synced, and nothing that was."""

import os

import pytest

from .disks import Disk


@pytest.fixture
def disk(tmp_path, require):
    require("mkfs.ext4", "mount")
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    try:
        made = Disk(tmp_path / "disk")
    except OSError as error:
        pytest.skip(f"no loop device: {error}")
    yield made
    made.remove()


def test_a_power_cut_loses_what_was_not_synced_and_nothing_else(disk):
    """The loss itself is what makes the rows that cut the power worth anything."""
    with (disk.directory / "synced").open("wb") as file:
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
    (disk.directory / "unsynced").write_bytes(b"y" * 4096)
    disk.cut_power()
    disk.restore_power()
    assert (disk.directory / "synced").read_bytes() == b"x" * 4096
    unsynced = disk.directory / "unsynced"
    assert not unsynced.exists() or unsynced.read_bytes() != b"y" * 4096


def write_and_sync(descriptor, blocks):
    for _ in range(blocks):
        os.write(descriptor, bytes(1 << 16))
        os.fsync(descriptor)


def test_a_disk_that_fails_below_reports_it_to_fsync(tmp_path, require):
    require("mkfs.ext4", "mount")
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = Disk(tmp_path / "disk", scarce_mib=60)
    try:
        descriptor = os.open(disk.directory / "file", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"x")
        os.fsync(descriptor)
        disk.fill_below()
        with pytest.raises(OSError, match="Input/output error"):
            write_and_sync(descriptor, 100)
        os.close(descriptor)
        disk.make_room()
        disk.repair()
        (disk.directory / "after").write_text("usable again")
    finally:
        disk.remove()
