"""The lock of a run directory: one process writes there at a time."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from cotune.exceptions import StorageError, writing


class RunLock:
    """A lock file that names the process and the host that hold it.

    The system releases it when that process ends, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Take the lock, and hold it until :meth:`release`.

        Raises:
            StorageError: Another process holds it, or the folder cannot be written.
        """
        with writing(self._folder):
            self._file = open(self._folder / "lock", "a+")  # noqa: SIM115 - held until release()
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.seek(0)
                pid, _, host = self._file.read().strip().partition(" ")
                self.release()
                raise StorageError(
                    f"{self._folder}: process {pid or '?'} on {host or '?'} is writing there; "
                    "wait for it, or stop it"
                ) from None
            self._file.truncate(0)
            self._file.write(f"{os.getpid()} {socket.gethostname()}\n")
            self._file.flush()

    def release(self) -> None:
        """Release the lock, where this process holds it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def is_held(self) -> bool:
        """Tell whether any process holds the lock."""
        try:
            with open(self._folder / "lock") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
