"""Data of any kind: a name of the catalog, a file, a folder, or objects of a Python program."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cotune.arguments import named
from cotune.data.builtin.catalog import DATASETS, load
from cotune.data.dataset import COLUMN_KINDS, Column, Dataset, Reading, Source
from cotune.data.readers.arrays import check_numbers, from_arrays
from cotune.data.readers.image_file import OTHER_PICTURES
from cotune.data.readers.missing import columns_with_missing
from cotune.data.readers.npy import split_column
from cotune.data.readers.objects import (
    join_labels,
    name_labels,
    read_items,
    tidy_inputs,
    tidy_labels,
)
from cotune.data.readers.reader import Rows, RowsReader, TableReader
from cotune.data.readers.registry import find_reader
from cotune.data.readers.sparse import is_sparse
from cotune.exceptions import DataError, UsageError
from cotune.text import shown

Data = Any
"""A name, a path, a Dataset, a DataFrame, a pair ``(X, y)`` or a map-style PyTorch dataset."""

_ADVICE = {
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin"),
        "is a pickle or may be one, which can run code when it is opened, so it is not; save "
        "arrays with numpy.savez, tables as CSV or Parquet",
    ),
    **dict.fromkeys(
        (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar", ".bz2", ".xz"),
        "is an archive; unpack it and give the file or folder in it",
    ),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "is a spreadsheet; save its sheet as CSV"),
    **dict.fromkeys(
        (".h5", ".hdf5", ".mat", ".arff", ".json", ".jsonl", ".feather", ".arrow", ".sqlite"),
        "is of a format that is not read; save it as CSV, Parquet or NPZ",
    ),
    **dict.fromkeys(
        OTHER_PICTURES, "is of an image format that is not read; convert it to PNG or JPEG"
    ),
}
_AS_IT_IS = Reading()
_UNKNOWN = "is of no known format; give CSV, TSV, Parquet, NPZ, NPY, IDX or a folder of images"


def read_data(
    source: Data,
    *,
    target: str | int | None = None,
    test: Data = None,
    reading: Reading = _AS_IT_IS,
) -> Dataset:
    """Read a labelled dataset of any kind.

    The same rows make the same dataset, in whatever order and format they come.

    Args:
        source: The name of a dataset; the path of a CSV, TSV, Parquet, NPZ, NPY or IDX file or of
            a folder; a Dataset; a DataFrame, alone or in a pair with its labels; a pair of arrays,
            tensors or lists; an array whose ``target`` column holds the labels; a map-style
            PyTorch dataset, or a list of pairs.
        target: What holds the labels: a table's column, an array of an NPZ file, the number of a
            column of an array.
        test: The test set, of any of these kinds. Without it, and where the data have none of
            their own, a stratified fifth of the rows is sealed.
        reading: How to read it, where that differs from what would be inferred.

    Raises:
        DataError: There is no such file, it is damaged, or its contents cannot be used.
        UsageError: The source is nothing of that kind, or has a test set or target already.
    """
    if isinstance(source, Dataset) or (isinstance(source, str) and source in DATASETS):
        for option, value in (("target", target), ("test", test)):
            if value is not None:
                has = source.name if isinstance(source, Dataset) else source
                raise UsageError(f"{option}: {has} comes with its own; leave it out")
        _check_no_kinds(reading)
        return source if isinstance(source, Dataset) else load(source)
    path, test_path = _path(source), _path(test)
    if path is not None:
        check_path(path if isinstance(source, os.PathLike) else source)
        if test_path is not None and test_path.exists() and path.samefile(test_path):
            raise DataError(
                f"{test_path}: is the training data itself; give other rows as the test set, or "
                "none, and a part of these is sealed"
            )
    dataset = _read_dataset(source, target, test, reading)
    if test is None:
        return dataset
    given = "the test set given" if test_path is None else f"of {test_path}"
    return replace(dataset, test_origin=given)


def _read_dataset(source: Data, target: str | int | None, test: Data, reading: Reading) -> Dataset:
    """Read a dataset of anything but a named one."""
    path, test_path = _path(source), _path(test)
    if _is_labelled_frame(source) and target is None:
        source, target = join_labels(source[0], source[1], "table")
    if _is_table(source):
        if _is_labelled_frame(test) and target is not None:
            test, _ = join_labels(test[0], test[1], "test set", str(target))
        from cotune.data.tables.tables import read_table

        if test is not None and not _is_table(test):
            raise UsageError("test: give a table as the training data are, CSV, TSV or Parquet")
        column = None if target is None else str(target)
        return read_table(path or source, target=column, test=test_path or test, reading=reading)
    _check_no_kinds(reading)
    dataset = _assemble(source, target, test, reading)
    if path is None or (test is not None and test_path is None):
        return dataset
    return replace(dataset, source=Source.of(path, target, test_path, reading))


def read_inputs(
    source: Data,
    preprocessing: Any,
    *,
    target: str | int | None = None,
    classes: Sequence[str] = (),
) -> tuple[NDArray[Any], NDArray[Any] | None, list[str] | None]:
    """Read rows of new data for a model.

    Args:
        source: As for :func:`read_data`, with labels or without; also a single image, a folder of
            images, or an array without labels.
        preprocessing: The model's: ``columns`` of a table, or ``input_shape``.
        target: As for :func:`read_data`.
        classes: The model's, by which folders of images and words of a table are known as such.

    Returns:
        Inputs as the model takes them; labels ``[rows]``, whole numbers or texts, where the data
        have some; and the rows' names, where they are files.

    Raises:
        DataError: The data cannot be read, or are not of the model's columns or shape.
        UsageError: The source is nothing of that kind.
    """
    columns: tuple[Column, ...] = getattr(preprocessing, "columns", ())
    shape: tuple[int, ...] = tuple(preprocessing.input_shape)
    if isinstance(source, str) and source in DATASETS:
        source = load(source)
    if isinstance(source, Dataset):
        return source.inputs, np.array(source.classes)[source.labels], None
    if _is_labelled_frame(source) and (columns or len(shape) == 2):
        source, target = join_labels(source[0], source[1], "data")
    if _is_table(source):
        from cotune.data.tables.tables import read_cells, read_pixels

        table, column = _path(source) or source, None if target is None else str(target)
        if columns:
            return *read_cells(table, columns, column, classes), None
        return *read_pixels(table, shape, column, classes), None
    path = _path(source)
    what = "arrays" if path is None else str(path)
    if path is not None:
        name = None if target is None else str(target)
        rows = _rows_reader(path).read_new(path, name, shape, classes)
    elif _is_array(source) and target is None:
        rows = Rows(source, None)
    else:
        rows = _read(source, target, what, _AS_IT_IS)
    inputs = _new_cells(rows.inputs, columns, f"{what}: inputs")
    labels = None if rows.labels is None else _labels(rows, f"{what}: labels")
    if path is None or not rows.paths:
        return inputs, labels, None
    root = path if path.is_dir() else path.parent
    return inputs, labels, [str(one.relative_to(root)) for one in rows.paths]


def _new_cells(inputs: Any, columns: Sequence[Column], what: str) -> NDArray[Any]:
    """Return rows of new data; those for a model of columns may have missing cells."""
    rows, _ = tidy_inputs(inputs, what)
    if columns and rows.shape[1:] == (len(columns),):
        check_numbers(rows, what, missing=True)
    return rows


def check_path(source: str | os.PathLike[str]) -> None:
    """Say at once what is plainly wrong with a name or path; nothing is read.

    Raises:
        DataError: There is no such dataset or file, or files of that kind are not opened.
    """
    if isinstance(source, str) and source in DATASETS:
        return
    path = Path(source)
    if not path.exists():
        if isinstance(source, str):
            load(source)  # raises an error that says what there is
        raise DataError(f"{path}: no such file or folder; check the path")
    if not path.is_dir() and find_reader(path) is None:
        raise DataError(f"{path}: {_ADVICE.get(path.suffix.lower(), _UNKNOWN)}")


def _check_no_kinds(reading: Reading) -> None:
    """Raise ``UsageError`` where kinds of columns are given of data that have no columns."""
    if reading.columns:
        raise UsageError(
            "column: the data are no table, so its columns have no kinds; leave it out"
        )


def _assemble(source: Data, target: str | int | None, test: Data, reading: Reading) -> Dataset:
    """Make a dataset of rows that are no table."""
    path = _path(source)
    name = "arrays" if path is None else str(path)
    rows = _read(source, target, name, reading)
    inputs, remarks = tidy_inputs(rows.inputs, f"{name}: inputs")
    labels = _labels(rows, f"{name}: labels")
    sealed = rows.test
    if test is not None:
        test_path = _path(test)
        if sealed is not None:
            remarks += ("the data's own test set skipped: another was given",)
        if path is not None and test_path is not None:
            reader, column = _rows_reader(test_path), None if target is None else str(target)
            if reader is find_reader(path):
                sealed = reader.read_test(test_path, column, rows, reading)
            else:
                sealed = reader.read(test_path, column, reading)
        else:
            sealed = _read(test, target, "test" if test_path is None else str(test_path), reading)
    pair = None
    if sealed is not None:
        test_inputs, _ = tidy_inputs(sealed.inputs, f"{name}: test inputs")
        # where the training data have no names for them, indices are compared as they are
        named = sealed if labels.dtype.kind == "U" else replace(sealed, classes=None)
        test_labels = _labels(named, f"{name}: test labels")
        if rows.classes and not sealed.classes:
            test_labels = name_labels(test_labels, rows.classes, f"{name}: test labels")
        elif labels.dtype.kind == "U" and test_labels.dtype.kind == "i":
            test_labels = test_labels.astype(np.str_)
        pair = (test_inputs, test_labels)
        remarks += tuple(f"test set: {remark}" for remark in sealed.remarks)
    columns = columns_with_missing(inputs, None if pair is None else pair[0])
    if columns:
        inputs = inputs.astype(np.float64)
        pair = None if pair is None else (pair[0].astype(np.float64), pair[1])
        remarks += ("NaN is read as a missing value, as in a table",)
    dataset = from_arrays(
        inputs,
        labels,
        test=pair,
        classes=rows.classes,
        name=name,
        columns=columns,
        by_content=True,
    )
    return replace(
        dataset,
        name="arrays" if path is None else _stem(path),
        remarks=(*rows.remarks, *remarks, *dataset.remarks),
    )


def _labels(rows: Rows, what: str) -> NDArray[Any]:
    """Return the labels, as class names where the rows come with a list of these."""
    if rows.classes:
        return name_labels(rows.labels, rows.classes, what)
    return tidy_labels(rows.labels, what)


def _read(source: Data, target: str | int | None, name: str, reading: Reading) -> Rows:
    """Read rows that are no table."""
    path = _path(source)
    if path is not None:
        column = None if target is None else str(target)
        return _rows_reader(path).read(path, column, reading)
    if isinstance(source, Dataset):
        return Rows(source.inputs, np.array(source.classes)[source.labels])
    if isinstance(source, tuple) and len(source) == 2 and target is None:
        return Rows(*source)
    if target is not None and _is_array(source):
        return Rows(*split_column(tidy_inputs(source, name)[0], target, name))
    if _is_items(source) and target is None:
        inputs, labels, classes = read_items(source, name)
        return Rows(inputs, labels, classes=classes)
    raise UsageError(
        "data: give the name of a dataset, a path, a Dataset, a DataFrame and its target, a pair "
        "of arrays (inputs, labels), or a PyTorch dataset of pairs"
    )


def _rows_reader(path: Path) -> RowsReader:
    """Return what reads a path that is no table.

    Raises:
        DataError: There is no such file, or nothing reads it.
        UsageError: It is a table.
    """
    check_path(path)
    reader = find_reader(path)
    if not isinstance(reader, RowsReader):
        raise UsageError(f"test: {path} is a table, and the training data are none; give arrays")
    return reader


def _stem(path: Path) -> str:
    """Return the name of a file or folder without what says of which kind it is."""
    name = path.absolute().name
    reader = find_reader(path)
    for suffix in (".gz", *(reader.suffixes if reader else ()), "-ubyte"):
        name = name.removesuffix(suffix)
    return name or "data"


def _path(source: Data) -> Path | None:
    return Path(source) if isinstance(source, (str, os.PathLike)) else None


def _is_table(source: Data) -> bool:
    path = _path(source)
    if path is not None:
        return isinstance(find_reader(path), TableReader)
    return hasattr(source, "__arrow_c_stream__")


def _is_labelled_frame(source: Data) -> bool:
    """Tell whether it is a pair of a DataFrame and its labels."""
    is_pair = isinstance(source, tuple) and len(source) == 2
    return is_pair and hasattr(source[0], "__arrow_c_stream__")


def _is_array(source: Data) -> bool:
    return isinstance(source, np.ndarray) or hasattr(source, "detach") or is_sparse(source)


def _is_items(source: Data) -> bool:
    """Tell whether it is a list of pairs, or what PyTorch calls a map-style dataset."""
    if isinstance(source, (str, bytes, tuple, Mapping)) or _is_array(source):
        return False
    return hasattr(source, "__getitem__") and hasattr(source, "__len__")


def read_dataset(
    data: Data,
    target: str | int | None = None,
    test: Data = None,
    columns: Mapping[str, str] | None = None,
    skip_damaged: bool = False,
) -> Dataset:
    """Read a named dataset, a file or folder, or objects in memory; see :func:`read_data`."""
    reading = Reading(read_column_kinds(columns), bool(skip_damaged))
    return read_data(data, target=target, test=test, reading=reading)


def read_column_kinds(columns: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Read types of columns by name, given as a mapping or as texts ``NAME=KIND``.

    Raises:
        UsageError: A text is not of that form, a kind is unknown, or a column is named twice.
    """
    if columns is None:
        return {}
    kinds: dict[str, str] = {}
    pairs = columns.items() if isinstance(columns, Mapping) else map(_column_kind, columns)
    for name, kind in pairs:
        if name in kinds:
            raise UsageError(f"column: {shown(name)} is there twice")
        kinds[str(name)] = str(named(str(kind), COLUMN_KINDS, f"column {shown(name)}"))
    return kinds


def _column_kind(text: str) -> tuple[str, str]:
    name, equals, kind = text.rpartition("=")
    if not name.strip() or not equals:
        raise UsageError(f"column: {shown(text)} is not NAME=KIND, such as Id=skip")
    return name.strip(), kind.strip()
