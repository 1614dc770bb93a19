"""NPY files, NumPy's own format of an array. Objects in them are pickled, and never opened."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cotune.data.readers.files import open_regular
from cotune.exceptions import DataError
from cotune.text import shown_key

Array = NDArray[np.generic]

_MAPPED = 2**26  # bytes; a larger file is mapped into memory, not read
_KINDS = "buifUS"


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
