"""Data of any kind: a name of the catalog, a file, a folder, or objects of a Python program."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cotune.data.builtin.catalog import entries, load
from cotune.data.dataset import Column, Dataset, Reading, Source
from cotune.data.readers import idx_pairs, image_folder, named_arrays
from cotune.data.readers.arrays import check_numbers, from_arrays
from cotune.data.readers.image_file import OTHER_PICTURES
from cotune.data.readers.image_tree import is_image
from cotune.data.readers.missing import columns_with_missing
from cotune.data.readers.npy import read_npy, split_column
from cotune.data.readers.npz import open_npz
from cotune.data.readers.objects import (
    join_labels,
    name_labels,
    read_items,
    tidy_inputs,
    tidy_labels,
)
from cotune.data.readers.sparse import is_sparse
from cotune.data.tables.asked_kinds import read_column_kinds
from cotune.exceptions import DataError, UsageError

Data = Any
"""A name, a path, a Dataset, a DataFrame, a pair ``(X, y)`` or a map-style PyTorch dataset."""

_TABLES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".parquet", ".pq")
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


@dataclass
class _Rows:
    """What was read: ``[rows, ...]``, ``[rows]``, and the test set where it has one."""

    inputs: Any
    labels: Any
    test: _Rows | None = None
    classes: Sequence[str] | None = None
    remarks: tuple[str, ...] = ()


def read_data(
    source: Data,
    *,
    target: str | int | None = None,
    test: Data = None,
    reading: Reading = _AS_IT_IS,
) -> Dataset:
    """A labelled dataset of whatever kind.

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
    if isinstance(source, Dataset) or (isinstance(source, str) and _is_named(source)):
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
    """A dataset of anything but a named one."""
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
    origin = Source(
        os.path.abspath(path),
        None if target is None else str(target),
        None if test_path is None else os.path.abspath(test_path),
        dict(reading.columns),
        reading.skip_damaged,
    )
    return replace(dataset, source=origin)


def read_inputs(
    source: Data,
    preprocessing: Any,
    *,
    target: str | int | None = None,
    classes: Sequence[str] = (),
) -> tuple[NDArray[Any], NDArray[Any] | None, list[str] | None]:
    """Rows of new data for a model.

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
    if isinstance(source, str) and _is_named(source):
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
    inputs: Any
    names: list[str] | None = None
    labels: Any = None
    what = "arrays" if path is None else str(path)
    if path is not None and _is_images(path):
        images = _new_images(path, shape, classes)
        inputs, labels = images.inputs, images.labels
        root = path if path.is_dir() else path.parent
        names = [str(one.relative_to(root)) for one in images.paths]
    elif path is not None and idx_pairs.is_images(path):
        inputs, labels = idx_pairs.read_idx_pair(path)
    elif path is not None:
        inputs, labels = _new_arrays(path, target)
    elif _is_array(source) and target is None:
        inputs = source
    else:
        rows = _read(source, target, what, _AS_IT_IS)
        inputs, labels = rows.inputs, _labels(rows, f"{what}: labels")
        return _new_cells(inputs, columns, f"{what}: inputs"), labels, None
    inputs = _new_cells(inputs, columns, f"{what}: inputs")
    return inputs, None if labels is None else tidy_labels(labels, f"{what}: labels"), names


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
    if isinstance(source, str) and _is_named(source):
        return
    path = Path(source)
    if not path.exists():
        if isinstance(source, str):
            load(source)  # raises an error that says what there is
        raise DataError(f"{path}: no such file or folder; check the path")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in (*_TABLES, ".npz", ".npy") or "idx" in path.name.lower():
        return
    if not _is_images(path):
        raise DataError(f"{path}: {_ADVICE.get(suffix, _UNKNOWN)}")


def _check_no_kinds(reading: Reading) -> None:
    """Raise ``UsageError`` where kinds of columns are given of data that have no columns."""
    if reading.columns:
        raise UsageError(
            "column: the data are no table, so its columns have no kinds; leave it out"
        )


def _assemble(source: Data, target: str | int | None, test: Data, reading: Reading) -> Dataset:
    """A dataset of rows that are no table."""
    path = _path(source)
    name = "arrays" if path is None else str(path)
    rows = _read(source, target, name, reading)
    inputs, remarks = tidy_inputs(rows.inputs, f"{name}: inputs")
    labels = _labels(rows, f"{name}: labels")
    sealed = rows.test
    if test is not None:
        test_path = _path(test)
        if sealed is not None:
            remarks += ("the data's own test set passed over: another was given",)
        if test_path is not None and _is_image_folder(path) and _is_image_folder(test_path):
            classes = np.unique(rows.labels).tolist()
            sealed = _image_rows(
                image_folder.read_test_folder(
                    test_path, inputs.shape[1:], classes, reading.skip_damaged
                )
            )
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
        remarks += ("NaN is taken for a missing value, as in a table",)
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


def _labels(rows: _Rows, what: str) -> NDArray[Any]:
    """The labels, by the names of their classes where the rows come with a list of these."""
    if rows.classes:
        return name_labels(rows.labels, rows.classes, what)
    return tidy_labels(rows.labels, what)


def _read(source: Data, target: str | int | None, name: str, reading: Reading) -> _Rows:
    """Rows that are no table."""
    path = _path(source)
    if path is not None:
        return _read_path(path, None if target is None else str(target), reading)
    if isinstance(source, Dataset):
        return _Rows(source.inputs, np.array(source.classes)[source.labels])
    if isinstance(source, tuple) and len(source) == 2 and target is None:
        return _Rows(*source)
    if target is not None and _is_array(source):
        return _Rows(*split_column(tidy_inputs(source, name)[0], target, name))
    if _is_items(source) and target is None:
        inputs, labels, classes = read_items(source, name)
        return _Rows(inputs, labels, classes=classes)
    raise UsageError(
        "data: give the name of a dataset, a path, a Dataset, a DataFrame and its target, a pair "
        "of arrays (inputs, labels), or a PyTorch dataset of pairs"
    )


def _read_path(path: Path, target: str | None, reading: Reading) -> _Rows:
    check_path(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        with open_npz(path) as arrays:
            return _with_test(*named_arrays.read_labelled(arrays, path, target))
    if suffix == ".npy" and target is not None:
        return _Rows(*split_column(read_npy(path), target, str(path)))
    if suffix == ".npy":
        inputs, labels = _npy_with_labels(path)
        if labels is None:
            raise DataError(
                f"{path}: where are its labels? Name a column of it with --target, or put them "
                "beside it: y.npy beside X.npy, y_train.npy beside x_train.npy"
            )
        return _Rows(inputs, labels)
    if path.is_dir() and (npy := _npy_files(path)):
        return _with_test(*named_arrays.read_labelled(npy, path, target))
    if target is not None:
        raise UsageError(f"target: {path} is no table, and its labels are known; leave it out")
    if not path.is_dir():
        if _is_images(path):
            raise DataError(f"{path}: is a single image; give a folder with a folder per class")
        return _Rows(*idx_pairs.read_idx_pair(path))
    if found := idx_pairs.find_idx(path):
        test = None if found[1] is None else idx_pairs.read_idx_pair(found[1])
        return _with_test(idx_pairs.read_idx_pair(found[0]), test)
    rows, sealed = image_folder.read_image_folder(path, skip_damaged=reading.skip_damaged)
    return _image_rows(rows, None if sealed is None else _image_rows(sealed))


def _image_rows(rows: image_folder.ImageRows, test: _Rows | None = None) -> _Rows:
    return _Rows(rows.inputs, rows.labels, test, remarks=rows.remarks)


def _new_arrays(path: Path, target: str | int | None) -> tuple[Any, Any]:
    """Inputs in an NPZ or NPY file or a folder of these, and labels where they have some."""
    if target is not None:
        rows = _read_path(path, str(target), _AS_IT_IS)
        return rows.inputs, rows.labels
    check_path(path)
    if path.suffix.lower() == ".npz":
        with open_npz(path) as arrays:
            return named_arrays.read_inputs(arrays, path)
    if path.is_dir():
        if found := idx_pairs.find_idx(path):
            return idx_pairs.read_idx_pair(found[1] or found[0])
        return named_arrays.read_inputs(_npy_files(path), path)
    return _npy_with_labels(path)


def _new_images(
    path: Path, shape: tuple[int, ...], classes: Sequence[str]
) -> image_folder.ImageRows:
    """Images with the names of their classes, where their folders tell these."""
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3):
        raise DataError(f"{path}: are images, and the model was trained on rows of shape {shape}")
    return image_folder.read_images(path, shape, classes)


def _npy_files(folder: Path) -> named_arrays.Arrays:
    return {path.stem: partial(read_npy, path) for path in sorted(folder.glob("*.npy"))}


def _npy_with_labels(path: Path) -> tuple[Any, Any]:
    beside = _npy_files(path.parent)
    labels = named_arrays.partner_of(path.stem, beside)
    return read_npy(path), None if labels is None else beside[labels]()


def _with_test(rows: named_arrays.Labelled, test: named_arrays.Labelled | None) -> _Rows:
    return _Rows(*rows, None if test is None else _Rows(*test))


def _stem(path: Path) -> str:
    """What a file or folder is called: its name without what says of which kind it is."""
    name = path.absolute().name
    for suffix in (".gz", ".npz", ".npy", "-ubyte"):
        name = name.removesuffix(suffix)
    return name or "data"


def _path(source: Data) -> Path | None:
    return Path(source) if isinstance(source, (str, os.PathLike)) else None


def _is_named(source: str) -> bool:
    return any(source == entry.name for entry in entries())


def _is_table(source: Data) -> bool:
    path = _path(source)
    if path is not None:
        return path.suffix.lower() in _TABLES and not path.is_dir()
    return hasattr(source, "__arrow_c_stream__")


def _is_labelled_frame(source: Data) -> bool:
    """Whether it is a pair of a DataFrame and its labels."""
    is_pair = isinstance(source, tuple) and len(source) == 2
    return is_pair and hasattr(source[0], "__arrow_c_stream__")


def _is_images(path: Path) -> bool:
    if not path.is_dir():
        return is_image(path)
    return not _npy_files(path) and not idx_pairs.find_idx(path)


def _is_image_folder(path: Path | None) -> bool:
    return path is not None and path.is_dir() and _is_images(path)


def _is_array(source: Data) -> bool:
    return isinstance(source, np.ndarray) or hasattr(source, "detach") or is_sparse(source)


def _is_items(source: Data) -> bool:
    """Whether it is a list of pairs, or what PyTorch calls a map-style dataset."""
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
    """A named dataset, a file or folder, or objects in memory; see :func:`read_data`."""
    reading = Reading(read_column_kinds(columns), bool(skip_damaged))
    return read_data(data, target=target, test=test, reading=reading)
