"""NPY files, NumPy's own format of an array. Objects in them are pickled, and never opened."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cotune.data.readers.files import open_regular
from cotune.exceptions import DataError
from cotune.text import shown_key

Array = NDArray[np.generic]

_MAPPED = 2**26  # bytes; a larger file is mapped into memory, not read
_KINDS = "buifUS"
_CHUNK = 2**20


def read_npy(path: Path) -> Array:
    """The array in an NPY file; a large one stays on the disk and is mapped into memory.

    Raises:
        DataError: It is no NPY file, holds objects, or is not of the size that its header says.
    """
    with open_regular(path, "an NPY file") as file:
        size = os.fstat(file.fileno()).st_size
        dtype, shape, order = read_header(file, str(path))
        start = file.tell()
        expected = math.prod(shape) * dtype.itemsize
        if size - start != expected:
            raise wrong_size(str(path), shape, dtype, f"{size - start:,}", expected)
        if expected > _MAPPED:
            # "c" gives PyTorch the writable view that it wants; the file stays as it is.
            mapped: Any = np.memmap(path, dtype, "c", start, shape, order)  # type: ignore[call-overload]
            return np.asarray(mapped)
        return fill(file, dtype, shape, order, str(path))


def split_column(table: Array, target: str | int, what: str) -> tuple[Array, Array]:
    """A table's columns but one, and that one.

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


def read_header(file: IO[bytes], what: str) -> tuple[np.dtype[Any], tuple[int, ...], str]:
    """The values' type, their shape, and ``C`` or ``F`` for the order in which they lie."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd text in a header, which is refused anyway
            version = npy.read_magic(file)
            if version in readers:
                shape, is_fortran, dtype = readers[version](file)
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
    return dtype, shape, "F" if is_fortran else "C"


def fill(
    file: IO[bytes],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    order: str,
    what: str,
) -> Array:
    """The values that follow the header."""
    try:
        values = np.empty(math.prod(shape), dtype)
    except (MemoryError, ValueError):
        raise DataError(
            f"{what}: there is no memory for its {math.prod(shape) * dtype.itemsize:,} bytes"
        ) from None
    view = values.view(np.uint8).data
    filled = 0
    while filled < len(view):
        count = file.readinto(view[filled : filled + _CHUNK])  # type: ignore[attr-defined]
        if not count:
            raise wrong_size(what, shape, dtype, f"{filled:,}", len(view))
        filled += count
    file.read(1)  # makes zipfile compare its checksum
    ordered: Array = values.reshape(shape, order=order)  # type: ignore[call-overload]
    return ordered


def wrong_size(
    what: str, shape: tuple[int, ...], dtype: np.dtype[Any], found: str, expected: int
) -> DataError:
    """What is said where the values do not fit the header."""
    return DataError(
        f"{what}: has {found} bytes of values where its header ({dtype.str[:20]} {shape}) asks for "
        f"{expected:,}; fetch it again"
    )
