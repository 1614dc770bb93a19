"""The kinds of data files and folders that are read. To add one, add its reader to READERS."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from cotune.data.readers.frames import read_frame
from cotune.data.readers.idx import IdxFile, IdxFolder
from cotune.data.readers.image_folder import ImageFile, ImageFolder
from cotune.data.readers.npy import NpyFile, NpyFolder
from cotune.data.readers.npz import NpzFile
from cotune.data.readers.reader import Reader, TableReader
from cotune.data.readers.table_file import TableFile
from cotune.data.tables.raw_table import NO_ROWS, RawTable, Texts
from cotune.exceptions import DataError

READERS: list[Reader] = [
    TableFile(),
    NpzFile(),
    NpyFile(),
    ImageFile(),
    IdxFile(),
    NpyFolder(),
    IdxFolder(),
    ImageFolder(),  # any other folder
]
"""The first that matches a path reads it."""


def register(reader: Reader) -> None:
    """Add a kind of data; it is asked before those that are there."""
    READERS.insert(0, reader)


def find_reader(path: Path) -> Reader | None:
    """Return what reads a path, None where nothing does."""
    return next((reader for reader in READERS if reader.matches(path)), None)


def read_raw(source: Any, name: str, texts: Texts = (), words: Collection[str] = ()) -> RawTable:
    """Read the columns of a file or DataFrame.

    Args:
        source: A path, or anything that gives out its columns by the Arrow C stream protocol, as
            the DataFrames of pandas and polars do.
        name: What messages about a DataFrame begin with.
        texts, words: As for :meth:`TableReader.read`.

    Raises:
        DataError: It cannot be read, or has no rows or columns.
    """
    if hasattr(source, "__arrow_c_stream__"):
        return read_frame(source, name)
    path = Path(source)
    reader = find_reader(path)
    raw = (reader if isinstance(reader, TableReader) else TableFile()).read(path, texts, words)
    if not raw.columns:
        raise DataError(f"{path}: has no columns; give a table with named columns")
    if len(raw) == 0:
        raise DataError(f"{path}: {NO_ROWS}")
    return raw
