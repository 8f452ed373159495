"""Disks that can fail: an ext4 of its own for a node, in a file, behind a loop device.

- *Power cut*: what has not reached the backing file is lost when the file is copied and the copy
  is mounted. `test_power_cut.py` shows that this loses what was not synced and nothing else.
- *Full*: a ballast file takes what is free.
- *Failing fsync*: the backing file stands on a tmpfs that is filled, so that blocks which ext4
  has promised cannot be written: the kernel reports EIO to fsync, as it does for a dying disk.
"""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

IMAGE_MIB = 256
"""etcd allocates its log 64 MiB at a time, two at once; sparse, so it costs what is written."""
CLOSED_S_MAX = 20.0


class Disk:
    """Mounted at `directory`. `scarce_mib`: the backing file stands on a tmpfs that large."""

    def __init__(self, home: Path, *, scarce_mib: int = 0) -> None:
        self.directory = home / "disk"
        self._store = home / "store"
        self._store.mkdir(parents=True)
        self.directory.mkdir()
        self._scarce = bool(scarce_mib)
        if scarce_mib:
            _run("mount", "-t", "tmpfs", "-o", f"size={scarce_mib}m", "tmpfs", str(self._store))
        self._generation = 0
        with self._image.open("wb") as file:
            file.truncate(IMAGE_MIB << 20)
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", str(self._image))
        self.mount()

    @property
    def _image(self) -> Path:
        return self._store / f"image-{self._generation}"

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.directory))

    def unmount(self) -> None:
        """Whoever was killed on it may be closing its files yet."""
        deadline = time.monotonic() + CLOSED_S_MAX
        while True:
            try:
                _run("umount", str(self.directory))
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def cut_power(self) -> None:
        """Keep what has reached the disk by now, and lose the rest. Nobody may be running on it
        when this returns to a mounted disk: stop first, then cut, then `restore_power`."""
        copy = self._store / f"image-{self._generation + 1}"
        _run("cp", "--sparse=always", str(self._image), str(copy))

    def restore_power(self) -> None:
        self.unmount()
        self._image.unlink()
        self._generation += 1
        self.mount()

    def device(self) -> str:
        """`MAJOR:MINOR` of the loop device."""
        number = os.stat(self.directory).st_dev
        return f"{os.major(number)}:{os.minor(number)}"

    def fill(self) -> None:
        """Leave no room on it."""
        _fill(self.directory / "ballast")

    def fill_below(self) -> None:
        """Leave no room below it: writes are taken and fail when they are to be made durable."""
        assert self._scarce
        _fill(self._store / "ballast")

    def make_room(self) -> None:
        for directory in (self.directory, self._store):
            (directory / "ballast").unlink(missing_ok=True)

    def repair(self) -> None:
        """As an operator does after the disk has failed: unmount, check, mount."""
        self.unmount()
        subprocess.run(["e2fsck", "-fy", str(self._image)], capture_output=True)
        self.mount()

    def remove(self) -> None:
        for directory in (self.directory, *([self._store] if self._scarce else [])):
            # A dead node's last file may be closing yet: a lazy unmount waits for it.
            subprocess.run(["umount", "-l", str(directory)], capture_output=True)
        shutil.rmtree(self._store, ignore_errors=True)


def _fill(ballast: Path) -> None:
    for size in (1 << 20, 1 << 16, 1 << 12):
        block = bytes(size)
        with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
            while True:
                file.write(block)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
