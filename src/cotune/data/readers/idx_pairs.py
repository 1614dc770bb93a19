"""IDX files that belong together: images and labels, a training and a test set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cotune.data.dataset import Reading
from cotune.data.readers.idx import read_idx
from cotune.data.readers.reader import Array, Rows, RowsReader, refuse_target
from cotune.exceptions import DataError

_IMAGES = re.compile(r"(.*)images([-.]idx)\d(-ubyte)?(\.gz)?", re.IGNORECASE)
_TEST = re.compile(r"(.*[-_.])?(t10k|test)[-_.]", re.IGNORECASE)


class IdxFile(RowsReader):
    """An IDX file of images, with the file of its labels beside it."""

    def matches(self, path: Path) -> bool:
        """Tell whether a path is called as an IDX file."""
        return "idx" in path.name.lower() and not path.is_dir()

    def read(self, path: Path, target: str | None, reading: Reading) -> Rows:
        refuse_target(path, target)
        return Rows(*read_idx_pair(path))

    def read_new(
        self, path: Path, target: str | None, shape: tuple[int, ...], classes: Sequence[str]
    ) -> Rows:
        return Rows(*read_idx_pair(path))


class IdxFolder(RowsReader):
    """A folder of IDX files, as MNIST's."""

    def matches(self, path: Path) -> bool:
        """Tell whether a path is a folder with IDX files in it."""
        return path.is_dir() and find_idx(path) is not None

    def read(self, path: Path, target: str | None, reading: Reading) -> Rows:
        refuse_target(path, target)
        train, test = find_idx(path) or (path, None)
        return Rows(*read_idx_pair(train), None if test is None else Rows(*read_idx_pair(test)))

    def read_new(
        self, path: Path, target: str | None, shape: tuple[int, ...], classes: Sequence[str]
    ) -> Rows:
        """Read rows to predict: those of the test set where there is one."""
        refuse_target(path, target)
        train, test = find_idx(path) or (path, None)
        return Rows(*read_idx_pair(test or train))


def read_idx_pair(path: Path) -> tuple[Array, Array]:
    """Read images, and the labels in the file beside them: ``labels-idx1`` for ``images-idx3``.

    Raises:
        DataError: The labels are missing, or a file is damaged.
    """
    name = _IMAGES.fullmatch(path.name)
    if name is None:
        raise DataError(
            f"{path}: where are its labels? Name the files as MNIST does: train-images-idx3-ubyte "
            "and train-labels-idx1-ubyte"
        )
    stem = f"{name[1]}labels{name[2]}1{name[3] or ''}"
    for labels in (path.with_name(stem), path.with_name(f"{stem}.gz")):
        if labels.exists():
            return read_idx(path), read_idx(labels)
    raise DataError(f"{path}: has no labels beside it; put {stem} there, gzipped or not")


def find_idx(folder: Path) -> tuple[Path, Path | None] | None:
    """Find a folder's files of training and of test images; None where it has neither.

    Raises:
        DataError: It has several of one kind.
    """
    # Of a file and its gzipped form the first is enough.
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if _IMAGES.fullmatch(path.name):
            found.setdefault(path.name.removesuffix(".gz"), path)
    tests = [path for name, path in found.items() if _TEST.match(name)]
    others = [path for path in found.values() if path not in tests]
    if not found:
        return None
    if len(others) != 1 or len(tests) > 1:
        names = ", ".join(path.name for path in found.values())
        raise DataError(f"{folder}: which of {names[:200]}? Give the path of the file to train on")
    return others[0], tests[0] if tests else None
