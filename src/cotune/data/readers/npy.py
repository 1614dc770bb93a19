"""NPY files, NumPy's own format of an array. Objects in them are pickled, and never opened."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from cotune.data.dataset import Reading
from cotune.data.readers.files import open_regular
from cotune.data.readers.named_arrays import Arrays, NamedArrays, partner_of
from cotune.data.readers.reader import Array, Rows, RowsReader
from cotune.exceptions import DataError
from cotune.text import shown_key

_MAPPED = 2**26  # bytes; a larger file is mapped into memory, not read
_KINDS = "buifUS"


class NpyFile(RowsReader):
    """An NPY file: a table of which a column holds the labels, or inputs with labels beside it."""

    suffixes = (".npy",)

    def read(self, path: Path, target: str | None, reading: Reading) -> Rows:
        if target is not None:
            return Rows(*split_column(read_npy(path), target, str(path)))
        rows = _with_labels(path)
        if rows.labels is None:
            raise DataError(
                f"{path}: where are its labels? Name a column of it with --target, or put them "
                "beside it: y.npy beside X.npy, y_train.npy beside x_train.npy"
            )
        return rows

    def read_new(
        self, path: Path, target: str | None, shape: tuple[int, ...], classes: Sequence[str]
    ) -> Rows:
        return _with_labels(path) if target is None else self.read(path, target, Reading())


class NpyFolder(NamedArrays):
    """A folder of NPY files."""

    def matches(self, path: Path) -> bool:
        """Tell whether a path is a folder with an NPY file in it."""
        return path.is_dir() and any(path.glob("*.npy"))

    @contextmanager
    def open(self, path: Path) -> Iterator[Arrays]:
        yield _npy_files(path)


def _npy_files(folder: Path) -> Arrays:
    return {path.stem: partial(read_npy, path) for path in sorted(folder.glob("*.npy"))}


def _with_labels(path: Path) -> Rows:
    """Read the array in a file, and its labels where these are in a file beside it."""
    beside = _npy_files(path.parent)
    labels = partner_of(path.stem, beside)
    return Rows(read_npy(path), None if labels is None else beside[labels]())


def read_npy(path: Path) -> Array:
    """Return the array in an NPY file; a large one stays on the disk and is mapped into memory.

    Raises:
        DataError: It is no NPY file, holds objects, or has another size than its header says.
    """
    with open_regular(path, "an NPY file") as file:
        size = os.fstat(file.fileno()).st_size
        if check_header(file, size, str(path)) > _MAPPED:
            # "c" gives PyTorch the writable view that it wants; the file stays as it is.
            return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
        file.seek(0)
        return read_values(file, str(path))


def check_header(file: IO[bytes], size: int, what: str) -> int:
    """Compare an array's header with the size of its file, before any memory is taken.

    Args:
        file: At its beginning; the header is read.
        size: Bytes of the file, header included.
        what: What messages begin with.

    Returns:
        Bytes of the values.

    Raises:
        DataError: It is no header of an array of numbers or texts, or sizes differ.
    """
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd text in a header, which is refused anyway
            version = npy.read_magic(file)
            if version in readers:
                shape, _, dtype = readers[version](file)
    except (OSError, zipfile.BadZipFile, zlib.error):  # of the file or archive that it is in
        raise
    except Exception as error:  # NumPy lets those of Python's parser and tokenizer through
        raise DataError(f"{what}: is no NPY file, or its header is damaged") from error
    if version not in readers:  # version 3 is for the names of fields
        raise DataError(f"{what}: has named fields; give a plain array")
    if dtype.hasobject:
        raise DataError(
            f"{what}: holds Python objects, which are pickled and never opened; save an array of "
            "numbers or of texts"
        )
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise DataError(f"{what}: is of type {str(dtype)[:40]}; give an array of numbers")
    if not shape or min(shape) < 1:
        raise DataError(f"{what}: holds no values (shape {shape}); give an array with rows")
    found, expected = size - file.tell(), math.prod(shape) * dtype.itemsize
    if found != expected:
        raise DataError(
            f"{what}: has {found:,} bytes of values where its header ({dtype.str[:20]} {shape}) "
            f"asks for {expected:,}; fetch it again"
        )
    return expected


def read_values(file: IO[bytes], what: str) -> Array:
    """Read an array whose header was checked, from its beginning.

    Raises:
        DataError: Memory does not suffice, or the file ends too early.
    """
    try:
        return npy.read_array(file, allow_pickle=False)
    except MemoryError:
        raise DataError(f"{what}: is larger than the free memory; give fewer rows") from None
    except ValueError as error:
        raise DataError(f"{what}: its values cannot be read ({error}); fetch it again") from error


def split_column(table: Array, target: str | int, what: str) -> tuple[Array, Array]:
    """Return a table's columns but one, and that one.

    Args:
        table: ``[rows, columns]``.
        target: The column's number, from 0; -1 is the last.
        what: What messages begin with.

    Raises:
        DataError: The array is no table of numbers, or has no such column.
    """
    if table.ndim != 2:
        raise DataError(f"{what}: has shape {table.shape}, so no columns; give the labels apart")
    try:
        column = int(target)
        labels = table[:, column]
    except (ValueError, IndexError):
        raise DataError(
            f"{what}: has no column {shown_key(target)}; give a number from 0 to "
            f"{table.shape[1] - 1}"
        ) from None
    return np.delete(table, column, axis=1), labels
