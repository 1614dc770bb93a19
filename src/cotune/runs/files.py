"""Writing of files: each is replaced at once or stays whole, or it grows line by line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from cotune.exceptions import writing

_PIECE = 65_536


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file; an earlier one is replaced at once, or stays whole where that fails.

    Args:
        content: Text is encoded as UTF-8; its line ends are left as they are.

    Raises:
        StorageError: It cannot be written.
    """
    with writing(path):
        _replace(path, content.encode() if isinstance(content, str) else content)


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files, each at once and whole, into a folder that is made when missing.

    Raises:
        StorageError: The folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            _replace(folder / name, content)


def append_text(path: Path, text: str, *, sync: bool = False) -> None:
    """Add text to the end of a file, which is made when missing.

    Args:
        sync: Make it survive a power loss.

    Raises:
        StorageError: It cannot be written.
    """
    with writing(path), open(path, "a", newline="", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Make what was written to a file survive a power loss; a missing file is left alone.

    Raises:
        StorageError: The disk does not take it.
    """
    if path.exists():
        with writing(path), open(path, "rb") as file:
            os.fsync(file.fileno())


def cut_file(path: Path, size: int | None = None) -> None:
    """Shorten a file to a size; without one, to its last whole line.

    A missing file is left alone, and so is a shorter one.

    Raises:
        StorageError: It cannot be written.
    """
    if not path.exists():
        return
    with writing(path), open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if size is None:
            size = _whole_lines(file, end)
        if size < end:
            file.truncate(size)
            os.fsync(file.fileno())


def describe_error(error: Exception) -> str:
    """Return what an error says on one line, without the path that an OSError repeats."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200]


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _whole_lines(file: IO[bytes], end: int) -> int:
    """Return the number of bytes up to the last line break."""
    while end > 0:
        start = max(0, end - _PIECE)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
