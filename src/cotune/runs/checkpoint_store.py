"""Checkpoints as numbered folders, each whole or not there, the last two kept.

A generation is written into a folder of a temporary name, synced and renamed, so a crash at any
instant leaves the one before. Its manifest has a checksum of every file and of itself; one that is
damaged is put aside, and the one before is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cotune.exceptions import StorageError, writing
from cotune.runs.files import write_file

_KEPT: Final = 2
_MANIFEST: Final = "manifest.json"
_PIECE = 1 << 22


@dataclass(frozen=True)
class Generation:
    """A whole checkpoint.

    Attributes:
        files: What was saved, in the order in which it was given.
        state: What was said of it.
    """

    path: Path
    files: list[Path]
    state: dict[str, Any]


class Generations:
    """The checkpoints of one run; only the holder of the run's lock may write.

    Args:
        path: The folder that they are in; it is made when the first begins.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self) -> Path:
        """Make an empty folder to write files into.

        Raises:
            StorageError: It cannot be made.
        """
        folder = self._path / f"{max(self._numbers(), default=0) + 1:06d}.tmp"
        with writing(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return folder

    def commit(self, folder: Path, files: Sequence[Path], state: Mapping[str, Any]) -> Generation:
        """Make a folder from :meth:`begin` the newest checkpoint, and drop all but the last two.

        Args:
            files: Those in the folder that belong to it.
            state: JSON.

        Raises:
            StorageError: It cannot be made to last; the folder is gone then.
        """
        final = folder.with_suffix("")
        try:
            with writing(folder):
                sums = {path.name: _checksum(path, sync=True) for path in files}
                body = json.dumps({"files": sums, "state": dict(state)})
                text = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest()})
                write_file(folder / _MANIFEST, f"{text}\n{body}\n")
                _sync_folder(folder)
                os.rename(folder, final)
                _sync_folder(self._path)
        except StorageError:
            self.discard(folder)
            raise
        for number in sorted(self._numbers())[:-_KEPT]:
            shutil.rmtree(self._path / f"{number:06d}", ignore_errors=True)
        return Generation(final, [final / path.name for path in files], dict(state))

    def discard(self, folder: Path) -> None:
        """Remove a folder from :meth:`begin`."""
        shutil.rmtree(folder, ignore_errors=True)

    def latest(self) -> Generation | None:
        """Return the newest whole checkpoint; rename damaged ones to ``NUMBER.damaged``."""
        for number in sorted(self._numbers(), reverse=True):
            path = self._path / f"{number:06d}"
            try:
                return _read(path)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                aside = path.with_suffix(".damaged")
                shutil.rmtree(aside, ignore_errors=True)
                with contextlib.suppress(OSError):
                    os.rename(path, aside)
        return None

    def remove(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self._path, ignore_errors=True)

    def _numbers(self) -> list[int]:
        if not self._path.is_dir():
            return []
        names = [path.name for path in self._path.iterdir()]
        return [int(name) for name in names if name.isascii() and name.isdigit()]


def _read(path: Path) -> Generation:
    seal, body, rest = (path / _MANIFEST).read_bytes().decode().split("\n")
    if rest or json.loads(seal)["sha256"] != hashlib.sha256(body.encode()).hexdigest():
        raise ValueError("the manifest is damaged")
    content = json.loads(body)
    files = [path / Path(name).name for name in content["files"]]
    for file, expected in zip(files, content["files"].values(), strict=True):
        if _checksum(file) != expected:
            raise ValueError(f"{file.name} is damaged")
    return Generation(path, files, dict(content["state"]))


def _checksum(path: Path, sync: bool = False) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
        if sync:
            os.fsync(file.fileno())
    return digest.hexdigest()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
