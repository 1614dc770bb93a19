"""The folders and files below a folder of images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cotune.data.readers.image_file import SUFFIXES
from cotune.exceptions import DataError

_OF_SYSTEMS = {
    *("__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information"),
    "lost+found",
}


@dataclass
class ImageTree:
    """Folders and files below a folder, each folder read once; hidden ones are left out.

    Attributes:
        root: Links that lead out of it are refused.
        of_systems: Folders that an operating system left, which are skipped.
    """

    root: Path
    of_systems: list[str] = field(default_factory=list)
    _entries: dict[Path, list[tuple[Path, bool]]] = field(default_factory=dict)
    _holds: dict[Path, bool] = field(default_factory=dict)

    def folders(self, folder: Path) -> list[Path]:
        """Return the folders in a folder, by name."""
        return [path for path, is_folder in self._read(folder) if is_folder]

    def files(self, folder: Path) -> list[Path]:
        """Return the files in a folder, by name."""
        return [path for path, is_folder in self._read(folder) if not is_folder]

    def images(self, folder: Path) -> list[Path]:
        """Return the images in a folder itself, by name."""
        return [path for path in self.files(folder) if is_image(path)]

    def class_folders(self, folder: Path) -> list[Path]:
        """Return the folders in a folder that have images, somewhere."""
        return [path for path in self.folders(folder) if self.holds_images(path)]

    def holds_images(self, folder: Path) -> bool:
        """Tell whether there is an image in a folder or in the folders in it."""
        if folder not in self._holds:
            self._holds[folder] = bool(self.images(folder)) or any(
                self.holds_images(path) for path in self.folders(folder)
            )
        return self._holds[folder]

    def walk(self, folder: Path) -> Iterator[Path]:
        """Yield all files in a folder and in the folders in it, in the order of their paths."""
        for path, is_folder in self._read(folder):
            if is_folder:
                yield from self.walk(path)
            else:
                yield path

    def _read(self, folder: Path) -> list[tuple[Path, bool]]:
        """List what is in a folder, by name, and whether it is a folder.

        Raises:
            DataError: It cannot be read, or a link leads out of the root or to a folder.
        """
        if folder in self._entries:
            return self._entries[folder]
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be read ({error.strerror or error}); check its permissions"
            ) from error
        listed = []
        for entry in found:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if entry.name.lower() in _OF_SYSTEMS:
                self.of_systems.append(entry.name)
                continue
            if entry.is_symlink():
                self._check_link(path)
            listed.append((path, entry.is_dir()))
        self._entries[folder] = listed
        return listed

    def _check_link(self, path: Path) -> None:
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root)):
            raise DataError(f"{path}: is a link that leads out of {self.root}; copy the file there")
        if path.is_dir():
            raise DataError(f"{path}: is a link to a folder; copy the folder there")


def is_image(path: Path) -> bool:
    """Tell whether a file is an image by its name."""
    return path.suffix.lower() in SUFFIXES
