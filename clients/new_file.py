"""A file that appears whole and synced under its name, or not at all."""

import os
import tempfile
from pathlib import Path


class FileThere(Exception):
    """The name is taken, and replacing it was not asked for."""


class NewFile:
    """Write to it, then `publish`; `discard` in any case. All calls may block."""

    def __init__(self, path: str | os.PathLike[str], *, replace: bool) -> None:
        """Raises `FileThere`, `OSError`."""
        self._target = Path(path)
        self._replace = replace
        if self._target.exists() and not replace:
            raise FileThere(str(self._target))
        descriptor, name = tempfile.mkstemp(
            prefix=f".{self._target.name}.", dir=self._target.parent
        )
        self._file = open(descriptor, "wb")  # noqa: SIM115  # closed by `discard`
        self._temporary = Path(name)

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def publish(self) -> None:
        """Give the synced file its name. A link, unlike a rename, never replaces another's file.

        Raises `FileThere`, `OSError`.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._replace:
            os.replace(self._temporary, self._target)
        else:
            try:
                os.link(self._temporary, self._target)
            except FileExistsError as error:
                raise FileThere(str(self._target)) from error
        directory = os.open(self._target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def discard(self) -> None:
        """Let go of the file, and remove what was not published."""
        try:
            self._file.close()
        finally:
            self._temporary.unlink(missing_ok=True)
