"""Opening the files that a user names."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cotune.exceptions import DataError


@contextlib.contextmanager
def open_regular(path: Path, kind: str) -> Iterator[BinaryIO]:
    """Open a file; an ``OSError`` within becomes a ``DataError`` that begins with the path.

    Args:
        kind: What kind of file is wanted, with its article, for the messages.

    Raises:
        DataError: The file is missing, no regular file, or cannot be read.
    """
    if "\0" in str(path):
        raise DataError(f"{str(path)!r}: no file can have this name; check the path")
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError(f"{path}: not a regular file; give the path of {kind}")
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; give the path of {kind}") from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions"
        ) from error


def _open_without_waiting(path: str, flags: int) -> int:
    # opening a named pipe would otherwise wait for somebody to write to it
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
