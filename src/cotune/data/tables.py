"""Datasets of tables: CSV, TSV and Parquet files and DataFrames."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cotune.data.arrays import from_arrays
from cotune.data.dataset import Column, Dataset, Source
from cotune.data.pixel_columns import find_layout, is_pixel, read_images
from cotune.data.raw_table import RawTable, is_text, listed, shorten
from cotune.data.table_columns import (
    LONGEST_TEXT,
    check_columns,
    encode,
    read_numbers,
    read_texts,
    understand,
)
from cotune.data.table_files import read_raw
from cotune.exceptions import DataError

TARGETS: Final = ("label", "target", "class", "y")
"""What the column of the labels is called where nobody says; else it is the last one."""

_WHOLE: Final = re.compile(r"0|-?[1-9]\d{0,17}", re.A)


def read_table(
    source: Any,
    *,
    target: str | None = None,
    test: Any = None,
    name: str | None = None,
) -> Dataset:
    """A dataset of a CSV, TSV or Parquet file, or of a DataFrame.

    Numbers and dates (as seconds) are numbers, true and false booleans, other texts categories.
    Texts that are all different, as ids are, are left out, and so are columns without values and
    an index. Columns label, pixel0, pixel1 ... (from 1 as well, or 1x1, 1x2 ...) are images.

    Args:
        source: A path, or anything that gives out its columns by the Arrow C stream protocol.
        target: The column that holds the labels: texts, booleans or whole numbers. Without it the
            one that is called as one of :data:`TARGETS`, or else the last.
        test: The same columns of the test set. Without it a stratified fifth of the rows is
            sealed, the same whatever the order of the rows.
        name: What the user calls it; the file's name by default.

    Raises:
        DataError: It cannot be read; a cell is of another type than its column, infinite, or a
            missing label; the columns of the test set differ; or see
            :func:`~cotune.data.arrays.from_arrays`.
    """
    is_frame = hasattr(source, "__arrow_c_stream__")
    name = name or ("table" if is_frame else Path(source).stem)
    raw = read_raw(source, name)
    target, remarks = _target(raw, target)
    remarks = [*raw.remarks, *remarks]
    labels = _labels(raw, target)
    features = [column for column in raw.columns if column != target]
    layout = find_layout(features)
    columns: tuple[Column, ...] = ()
    if layout is not None:
        inputs: NDArray[np.generic] = read_images(raw, layout)
        height, width = layout[1]
        remarks.append(f"{len(layout[0])} columns of pixels: images of {height} x {width}")
    else:
        columns, inputs, left_out = understand(raw, features)
        remarks += left_out
    sealed = None
    if test is not None:
        texts = [column.name for column in columns if column.kind == "category"]
        raw_test = read_raw(
            test, f"{name}, test set", [*texts, target] if labels.dtype.kind == "U" else texts
        )
        check_columns(raw_test, raw.columns, unknown=True)
        test_inputs = encode(raw_test, columns) if layout is None else read_images(raw_test, layout)
        test_labels, labels = _alike(_labels(raw_test, target), labels)
        _check_known(raw_test, target, test_labels, labels)
        sealed = (test_inputs, test_labels)
    dataset = from_arrays(
        inputs, labels, test=sealed, name=raw.where, columns=columns, by_content=True
    )
    origin = None
    if not is_frame and not hasattr(test, "__arrow_c_stream__"):
        origin = Source(os.path.abspath(source), target, test and os.path.abspath(test))
    return replace(dataset, name=name, remarks=tuple(remarks), source=origin)


def read_cells(
    source: Any, columns: Sequence[Column], target: str | None = None
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """The cells of new data, as those of the table that had these columns.

    Args:
        source: As for :func:`read_table`. Its columns may be in any order; further ones are not
            looked at.
        columns: What the table had.
        target: The column of the labels.

    Returns:
        ``float64 [rows, columns]``, where NaN is a missing cell or an unknown category, and the
        labels, texts or ``int64``, where there is a column of them.

    Raises:
        DataError: It cannot be read, has not these columns (the differences are listed), or a
            cell is of another type than its column.
    """
    texts = [column.name for column in columns if column.kind == "category"]
    raw = read_raw(source, "data", texts)
    check_columns(raw, [column.name for column in columns], besides=target)
    return encode(raw, columns), _labels_if_any(raw, target)


def read_pixels(
    source: Any, shape: tuple[int, ...], target: str | None = None
) -> tuple[NDArray[np.uint8], NDArray[Any] | None]:
    """The images of new data whose columns are pixels.

    Args:
        source: As for :func:`read_table`.
        shape: Height and width that are expected.
        target: The column of the labels.

    Returns:
        ``uint8 [rows, height, width]`` and the labels where there is a column of them.

    Raises:
        DataError: It cannot be read, or holds something else.
    """
    raw = read_raw(source, "data")
    # without the name of the target, whatever is not called as a pixel may be it
    pixels = [name for name in raw.columns if name != target and is_pixel(name)]
    layout = find_layout(pixels)
    if layout is None or layout[1] != tuple(shape):
        found = "no images" if layout is None else f"images of {layout[1][0]} x {layout[1][1]}"
        raise DataError(
            f"{raw.where}: its columns are {found}, the model is for "
            f"{' x '.join(map(str, shape))}; give columns pixel0, pixel1 … of that many pixels"
        )
    return read_images(raw, layout), _labels_if_any(raw, target)


# The labels


def _target(raw: RawTable, target: str | None) -> tuple[str, list[str]]:
    """The column of the labels, and how it was found."""
    names = list(raw.columns)
    if target is not None:
        if target.strip() in raw.columns:
            return target.strip(), []
        lower = {name.lower(): name for name in reversed(names)}
        close = difflib.get_close_matches(target.strip().lower(), lower, 3, 0.5)
        near = ", ".join(repr(shorten(lower[name])) for name in close)
        raise DataError(
            f"{raw.where}: has no column {shorten(target)!r}; "
            + (f"did you mean {near}?" if near else f"its columns are {listed(names)}")
        )
    called_so = [name for name in names if name.lower() in TARGETS]
    found = called_so[0] if len(called_so) == 1 else names[-1]
    how = "by its name" if len(called_so) == 1 else "the last column"
    return found, [f"the labels are in {shorten(found)!r}, {how}; --target names another"]


def _labels_if_any(raw: RawTable, target: str | None) -> NDArray[Any] | None:
    return _labels(raw, target) if target is not None and target in raw.columns else None


def _labels(raw: RawTable, name: str) -> NDArray[Any]:
    """The labels, ``int64`` or texts; texts that are all whole numbers are such."""
    import pyarrow as pa

    kind = raw.columns[name].type
    labels: NDArray[Any]
    if pa.types.is_boolean(kind) or pa.types.is_dictionary(kind) or is_text(kind):
        codes, texts = read_texts(raw, name)
        _check_labelled(raw, name, codes < 0)
        if max(map(len, texts)) > LONGEST_TEXT:
            raise DataError(
                f"{raw.where}: column {shorten(name)!r} holds texts of more than {LONGEST_TEXT} "
                "characters; name a column of labels with --target"
            )
        if all(_WHOLE.fullmatch(text) for text in texts):
            labels = np.array([int(text) for text in texts], np.int64)[codes]
        else:
            labels = np.array(texts, np.str_)[codes]
        return labels
    if pa.types.is_temporal(kind):
        raise DataError(
            f"{raw.where}: column {shorten(name)!r} holds dates or times; name a column of labels, "
            "texts or whole numbers, with --target"
        )
    column = raw.columns[name].combine_chunks()
    _check_labelled(raw, name, column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False))
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        labels = column.cast(pa.int64()).to_numpy()
        return labels
    numbers = read_numbers(raw, name)
    wrong = np.flatnonzero((numbers != np.rint(numbers)) | (np.abs(numbers) >= 2**62))
    if len(wrong):
        raise raw.error(
            wrong[0],
            name,
            f"{numbers[wrong[0]]:g} is no class; labels are texts or whole numbers (regression is "
            "not what Cotune does); name another column with --target",
        )
    return numbers.astype(np.int64)


def _check_labelled(raw: RawTable, name: str, missing: NDArray[np.bool_]) -> None:
    rows = np.flatnonzero(missing)
    if len(rows):
        raise raw.error(rows[0], name, "the label is missing; label the row or drop it")


def _alike(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as texts where one is."""
    if one.dtype.kind == other.dtype.kind:
        return one, other
    return one.astype(np.str_), other.astype(np.str_)


def _check_known(raw: RawTable, name: str, labels: NDArray[Any], known: NDArray[Any]) -> None:
    rows = np.flatnonzero(~np.isin(labels, known))
    if len(rows):
        shown = shorten(str(labels[rows[0]]))
        classes = [str(label) for label in np.unique(known)]
        raise raw.error(
            rows[0],
            name,
            f"{shown!r} is no class of the training data ({listed(classes)}); drop the row",
        )
