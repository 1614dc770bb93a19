"""IDX files, the format of MNIST and Fashion-MNIST: one alone, or images and labels.

bytes 0-1        zero
byte 2           type of a value
byte 3           number of dimensions, d
4 d bytes        the dimensions, big-endian uint32
the rest         the values, big-endian, last dimension fastest
"""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import Reading
from cotune.data.readers.files import open_regular
from cotune.data.readers.reader import Array, Rows, RowsReader, refuse_target
from cotune.exceptions import DataError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMENSIONS = 8
_MAX_DEFLATE_RATIO = 1032  # no deflate stream expands a byte further
_MAX_UNPACKED = 2 * 2**30  # bytes; a larger file has to be unpacked, and so paid for, on disk
_CHUNK = 2**20
_IMAGES = re.compile(r"(.*)images([-.]idx)\d(-ubyte)?(\.gz)?", re.IGNORECASE)
_TEST = re.compile(r"(.*[-_.])?(t10k|test)[-_.]", re.IGNORECASE)


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.generic]:
    """Read an IDX file, gzipped or not (its first two bytes tell).

    Memory is bounded by the header's size, which is first compared with the file's: nothing is
    unpacked beyond it but one byte, which shows whether the file is longer.

    Returns:
        An array of the file's shape and type, in the machine's byte order.

    Raises:
        DataError: The file is missing or unreadable, is no IDX file, is shorter or longer than
            its header says, or is a broken gzip file. The message begins with the path.
    """
    path = Path(path)
    with open_regular(path, "an IDX file") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stored = os.fstat(file.fileno()).st_size
        if not zipped:
            return _read(file, path, stored, zipped=False)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(unpacked, path, stored, zipped=True)  # type: ignore[arg-type]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{path}: broken gzip file ({str(error).rstrip('.')}); fetch it again"
            ) from error


def _read(file: BinaryIO, path: Path, stored: int, *, zipped: bool) -> NDArray[np.generic]:
    dtype, shape, header = _read_header(file, path)
    expected = math.prod(shape) * dtype.itemsize
    if zipped and expected > _MAX_UNPACKED:
        raise DataError(
            f"{path}: its header asks for {expected:,} bytes, more than is unpacked in memory; "
            "gunzip the file first"
        )
    room = stored * _MAX_DEFLATE_RATIO if zipped else stored - header
    if expected > room:
        raise _wrong_size(path, shape, expected, f"has {'at most ' if zipped else ''}{room:,}")
    if not zipped and expected < room:
        raise _wrong_size(path, shape, expected, f"has {room:,}")

    values = np.empty(shape, dtype)
    view = values.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < expected:
        count = file.readinto(view[filled : filled + _CHUNK])  # type: ignore[attr-defined]
        if not count:
            raise _wrong_size(path, shape, expected, f"has {filled:,}")
        filled += count
    if file.read(1):  # also makes gzip compare its checksum
        raise _wrong_size(path, shape, expected, "has more")
    return values.astype(dtype.newbyteorder("="), copy=False)


def _read_header(file: BinaryIO, path: Path) -> tuple[np.dtype[np.generic], tuple[int, ...], int]:
    """Read the values' type, their shape, and the header's size in bytes."""
    magic = file.read(4)
    if not magic:
        raise DataError(f"{path}: the file is empty; fetch it again")
    if len(magic) < 4 or magic[:2] != b"\0\0" or not 1 <= magic[3] <= _MAX_DIMENSIONS:
        raise DataError(
            f"{path}: not an IDX file (it begins with {magic.hex(' ')}, where 00 00, a type and "
            "the number of dimensions belong); give an IDX file"
        )
    if magic[2] not in _TYPES:
        known = ", ".join(f"{code:02x}" for code in _TYPES)
        raise DataError(
            f"{path}: IDX type {magic[2]:02x} does not exist (known: {known}); give an IDX file"
        )
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(
            f"{path}: the file ends in its header ({4 + len(sizes)} bytes, expected "
            f"{4 + 4 * magic[3]}); fetch it again"
        )
    shape = struct.unpack(f">{magic[3]}I", sizes)
    if 0 in shape:
        raise DataError(f"{path}: holds no values (shape {_times(shape)}); give a file with rows")
    return np.dtype(_TYPES[magic[2]]), shape, 4 + len(sizes)


def _wrong_size(path: Path, shape: tuple[int, ...], expected: int, found: str) -> DataError:
    return DataError(
        f"{path}: {found} bytes of values where its header ({_times(shape)}) asks for "
        f"{expected:,}; fetch it again"
    )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape)


class IdxFile(RowsReader):
    """An IDX file of images, with the file of its labels beside it."""

    def matches(self, path: Path) -> bool:
        """Tell whether a path is called as an IDX file."""
        return "idx" in path.name.lower() and not path.is_dir()

    def read(self, path: Path, target: str | None, reading: Reading) -> Rows:
        refuse_target(path, target)
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
