"""Fashion-MNIST: where its four files are found, and reading them with their contents checked."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from cotune.data.builtin.download import cache_folder, fetch
from cotune.data.builtin.named import Entry, NamedDataset
from cotune.data.checks import check_same_length
from cotune.data.dataset import Dataset
from cotune.data.readers.idx import read_idx
from cotune.exceptions import DataError

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
ROWS = 60_000
TEST_ROWS = 10_000
_SMALL_ROWS = 6_000

MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)

ADVICE = (
    "check the network, or set COTUNE_DATA to a folder that holds the four files, "
    "or on Debian: apt install dataset-fashion-mnist"
)

_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True)
class _File:
    """One of the four files.

    Attributes:
        gz_size, gz_md5: Of the official ``.gz`` file. Others pack the same contents differently.
        sha256: Of the unpacked file (``zcat FILE | sha256sum``).
    """

    stem: str
    gz_size: int
    gz_md5: str
    sha256: str


Split = Literal["train", "t10k"]
"""The training set and the test set, as the files' names begin."""

_IMAGES: dict[Split, _File] = {
    "train": _File(
        "train-images-idx3-ubyte",
        26_421_880,
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "t10k": _File(
        "t10k-images-idx3-ubyte",
        4_422_102,
        "bef4ecab320f06d8554ea6380940ec79",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
}
_LABELS: dict[Split, _File] = {
    "train": _File(
        "train-labels-idx1-ubyte",
        29_515,
        "25c81989df183df01b3e8a0aad5dffbe",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k": _File(
        "t10k-labels-idx1-ubyte",
        5_148,
        "bb300cfdad3c16e7a12a480ee83cd310",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
_FILES = (*_IMAGES.values(), *_LABELS.values())


class FashionMnist(NamedDataset):
    """28 x 28 grey images; files that are not here are downloaded."""

    name = "fashion-mnist"
    description = "Zalando's grey pictures of clothes"
    rows = ROWS

    def entry(self) -> Entry:
        try:
            megabytes = sum(file.gz_size for file in _FILES) / 1e6
            where = str(find() or f"not here yet; downloaded when used ({megabytes:.0f} MB)")
        except DataError as error:
            where = str(error)
        return Entry(
            *(self.name, self.description, self.rows, TEST_ROWS, len(CLASSES), (28, 28), where)
        )

    def load(self) -> Dataset:
        """Read the training set; the test set is read when it is opened."""
        folder = find_or_download()
        images, labels = read_split(folder, "train")
        if self.rows < ROWS:  # copied, so that the other images are freed
            images, labels = images[: self.rows].copy(), labels[: self.rows].copy()
        return Dataset(
            name=self.name,
            inputs=images,
            labels=labels,
            classes=CLASSES,
            open_test=lambda: read_split(folder, "t10k"),
            n_test=TEST_ROWS,
        )


class FashionMnistSmall(FashionMnist):
    """The first training images, and all test images."""

    name = "fashion-mnist-small"
    description = f"its first {_SMALL_ROWS:,} training images, all test images"
    rows = _SMALL_ROWS


def find() -> Path | None:
    """Return the first folder that holds all four files, gzipped or not; None when none does.

    Looked through in turn: ``$COTUNE_DATA`` and its subfolder ``fashion-mnist``, the user's
    cache, and where Debian's package ``dataset-fashion-mnist`` puts them.

    Raises:
        DataError: ``$COTUNE_DATA`` is no folder, or holds some of the files but not all.
    """
    chosen = os.environ.get("COTUNE_DATA")
    if chosen:
        folder = Path(chosen).expanduser()
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; correct or unset COTUNE_DATA")
        for place in (folder, folder / "fashion-mnist"):
            missing = _missing(place)
            if not missing:
                return place
            if len(missing) < len(_FILES):
                names = ", ".join(f"{file.stem}.gz" for file in missing)
                raise DataError(f"{place}: {names} missing; add the missing files")
    for place in (cache_folder() / "fashion-mnist", _DEBIAN):
        if not _missing(place):
            return place
    return None


def find_or_download(*, mirrors: Sequence[str] = MIRRORS) -> Path:
    """Return the folder that holds all four files; what is missing is downloaded into the cache.

    Raises:
        DataError: As :func:`find`, or what was downloaded is not the file.
        StorageError: No network, no mirror that has the file, or the cache cannot be written.
    """
    found = find()
    if found is not None:
        return found
    folder = cache_folder() / "fashion-mnist"
    for file in _missing(folder):
        fetch(
            f"{file.stem}.gz",
            mirrors,
            folder,
            size=file.gz_size,
            md5=file.gz_md5,
            advice=ADVICE,
        )
    return folder


def read_split(folder: Path, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images ``uint8 [rows, 28, 28]`` and labels ``int64 [rows]`` of one split.

    Raises:
        DataError: A file is damaged, is not Fashion-MNIST's, or the files' rows differ in number.
    """
    image_path, label_path = _path(folder, _IMAGES[split]), _path(folder, _LABELS[split])
    images, labels = read_idx(image_path), read_idx(label_path)
    check_same_length(images, labels, f"{image_path} and {label_path.name}")
    _check_contents(image_path, images, _IMAGES[split])
    _check_contents(label_path, labels, _LABELS[split])
    return cast("NDArray[np.uint8]", images), labels.astype(np.int64)


def _check_contents(path: Path, values: NDArray[np.generic], file: _File) -> None:
    # the header is rebuilt, so that the checksum is that of the unpacked file
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    digest = hashlib.sha256(header)
    digest.update(np.ascontiguousarray(values).data)
    if values.dtype != np.uint8 or digest.hexdigest() != file.sha256:
        raise DataError(
            f"{path}: damaged, or not Fashion-MNIST's (MNIST's files have the same names): "
            f"SHA-256 of the contents is {digest.hexdigest()[:12]}…, expected {file.sha256[:12]}…; "
            "replace the file"
        )


def _path(folder: Path, file: _File) -> Path:
    plain = folder / file.stem
    return plain if plain.exists() else folder / f"{file.stem}.gz"


def _missing(folder: Path) -> list[_File]:
    return [file for file in _FILES if not _path(folder, file).exists()]
