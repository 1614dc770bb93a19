"""Datasets of tables: CSV, TSV and Parquet files and DataFrames."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cotune.data.checks import check_no_regression
from cotune.data.dataset import Column, ColumnNote, Dataset, Reading, Source
from cotune.data.readers.arrays import are_texts, as_labels, from_arrays, match_labels, parse_labels
from cotune.data.readers.registry import read_raw
from cotune.data.tables.column_kinds import LONGEST_TEXT
from cotune.data.tables.columns import (
    check_columns,
    encode,
    parse_numbers,
    read_numbers,
    read_texts,
    understand,
)
from cotune.data.tables.missing_words import (
    MISSING_WORDS,
    drop_words,
    drop_words_by_kind,
    known_words,
)
from cotune.data.tables.pixel_columns import find_layout, is_pixel, read_images
from cotune.data.tables.raw_table import RawTable, is_text
from cotune.exceptions import DataError, UsageError
from cotune.text import listed, shorten

TARGETS: Final = ("label", "target", "class", "y")
"""Names of the label column where none is given; without one of them it is the last column."""

_AS_IT_IS: Final = Reading()
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d([ T][\d:.]+Z?)?", re.A)
_EXACT: Final = 2**53  # floats beyond this leave out whole numbers


def read_table(
    source: Any,
    *,
    target: str | None = None,
    test: Any = None,
    reading: Reading = _AS_IT_IS,
) -> Dataset:
    """Read a dataset of a CSV, TSV or Parquet file, or of a DataFrame.

    Numbers and dates (as seconds) are numbers, true and false booleans, other texts categories.
    Texts that are all different, as ids are, are left out, and so are columns without values and
    an index. Columns label, pixel0, pixel1 ... (from 1 as well, or 1x1, 1x2 ...) are images.

    Args:
        source: A path, or anything that gives out its columns by the Arrow C stream protocol.
        target: The column that holds the labels: texts, booleans or whole numbers. Without it the
            one that is called as one of :data:`TARGETS`, or else the last.
        test: The same columns of the test set. Without it a stratified fifth of the rows is
            sealed, the same whatever the order of the rows.
        reading: The kinds of columns that the user names.

    Raises:
        DataError: It cannot be read; a cell is of another type than its column, infinite, or a
            missing label; the columns of the test set differ; or see
            :func:`~cotune.data.readers.arrays.from_arrays`.
    """
    is_frame = hasattr(source, "__arrow_c_stream__")
    name = "table" if is_frame else Path(source).stem
    wanted = target
    kinds = reading.columns
    as_texts = [column for column, kind in kinds.items() if kind == "category"]
    raw = read_raw(source, name, lambda names, where: [_target(names, where, wanted)[0], *as_texts])
    target, remarks = _target(list(raw.columns), raw.where, wanted)
    remarks = [*raw.remarks, *remarks]
    _check_kinds(raw, kinds, target)
    labels, named = _labels(raw, target)
    if labels.dtype.kind == "i":
        check_no_regression(
            labels, f"{raw.where}: column {shorten(target)!r}", 3 if test is None else 2
        )
    features = [column for column in raw.columns if column != target]
    raw, words = drop_words_by_kind(raw, features, partial(_kind_of, kinds))
    remarks += [*named, *words]
    layout = find_layout(features)
    columns: tuple[Column, ...] = ()
    notes: tuple[ColumnNote, ...] = ()
    if layout is not None:
        inputs: NDArray[np.generic] = read_images(raw, layout)
        height, width = layout[1]
        remarks.append(f"{len(layout[0])} columns of pixels: images of {height} x {width}")
    else:
        found = understand(raw, features, kinds)
        columns, inputs, notes = found.columns, found.cells, found.notes
        remarks += found.remarks
    sealed = None
    if test is not None:
        texts = [column.name for column in columns if column.kind == "category"]
        known = [str(label) for label in np.unique(labels)]
        raw_test = read_raw(
            test, f"{name}, test set", [*texts, target], known_words(columns, known)
        )
        used = raw.columns if layout else [column.name for column in columns]
        check_columns(raw_test, [*used, target], raw.columns)
        raw_test = drop_words(
            raw_test,
            {one: () for one in features if one in raw_test.columns}
            | {column.name: column.categories for column in columns},
        )
        test_inputs = encode(raw_test, columns) if layout is None else read_images(raw_test, layout)
        given = _labels(raw_test, target, known)[0]
        matched, changed = match_labels(given, np.unique(labels))
        remarks += changed
        test_labels, labels = _alike(matched, labels)
        _check_known(raw_test, target, test_labels, labels)
        sealed = (test_inputs, test_labels)
    dataset = from_arrays(
        inputs, labels, test=sealed, name=raw.where, columns=columns, by_content=True
    )
    origin = None
    if not is_frame and not hasattr(test, "__arrow_c_stream__"):
        origin = Source.of(source, target, test, reading)
    return replace(
        dataset,
        name=name,
        remarks=(*remarks, *dataset.remarks),
        source=origin,
        column_notes=notes,
    )


def read_cells(
    source: Any,
    columns: Sequence[Column],
    target: str | None = None,
    classes: Sequence[str] = (),
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """Read the cells of new data that have the columns of an earlier table.

    Args:
        source: As for :func:`read_table`. Its columns may be in any order; further ones are not
            looked at.
        columns: What the table had.
        target: The column of the labels.
        classes: The classes that are known.

    Returns:
        ``float64 [rows, columns]``, where NaN is a missing cell and -1 an unknown category, and the
        labels, texts or ``int64``, where there is a column of them.

    Raises:
        DataError: It cannot be read, has not these columns (the differences are listed), or a
            cell is of another type than its column.
    """
    texts = [column.name for column in columns if column.kind == "category"]
    raw = read_raw(
        source,
        "data",
        texts if target is None else [*texts, target],
        known_words(columns, classes),
    )
    check_columns(raw, [column.name for column in columns], besides=target)
    cells = encode(drop_words(raw, {c.name: c.categories for c in columns}), columns)
    return cells, _labels_if_any(raw, target, classes)


def read_pixels(
    source: Any,
    shape: tuple[int, ...],
    target: str | None = None,
    classes: Sequence[str] = (),
) -> tuple[NDArray[np.uint8], NDArray[Any] | None]:
    """Read the images of new data whose columns are pixels.

    Args:
        source: As for :func:`read_table`.
        shape: Height and width that are expected.
        target: The column of the labels.
        classes: The classes that are known.

    Returns:
        ``uint8 [rows, height, width]`` and the labels where there is a column of them.

    Raises:
        DataError: It cannot be read, or holds something else.
    """
    raw = read_raw(source, "data", () if target is None else (target,), known_words((), classes))
    # without the name of the target, whatever is not called as a pixel may be it
    pixels = [name for name in raw.columns if name != target and is_pixel(name)]
    layout = find_layout(pixels)
    if layout is None or layout[1] != tuple(shape):
        found = "no images" if layout is None else f"images of {layout[1][0]} x {layout[1][1]}"
        raise DataError(
            f"{raw.where}: its columns are {found}, the model is for "
            f"{' x '.join(map(str, shape))}; give columns pixel0, pixel1 … of that many pixels"
        )
    raw = drop_words(raw, dict.fromkeys(pixels, ()))
    return read_images(raw, layout), _labels_if_any(raw, target, classes)


def _kind_of(kinds: Mapping[str, str], raw: RawTable, name: str) -> str:
    """Return the kind that a column is inferred to be, empty where it is left out or refused."""
    try:
        return understand(raw, [name], kinds, counters=True).columns[0].kind
    except DataError:
        return ""


def _check_kinds(raw: RawTable, kinds: Mapping[str, str], target: str) -> None:
    """Raise ``UsageError`` where kinds are given of columns that are not there or the labels."""
    for name in kinds:
        if name == target:
            raise UsageError(f"column {shorten(name)!r}: holds the labels, whose kind is fixed")
        if name not in raw.columns:
            raise UsageError(f"column: {_no_column(raw.columns, raw.where, name)}")


def _no_column(names: Iterable[str], where: str, name: str) -> str:
    names = list(names)
    lower = {one.lower(): one for one in reversed(names)}
    close = difflib.get_close_matches(name.strip().lower(), lower, 3, 0.5)
    near = ", ".join(repr(shorten(lower[one])) for one in close)
    return f"{where}: has no column {shorten(name)!r}; " + (
        f"did you mean {near}?" if near else f"its columns are {listed(names)}"
    )


# The labels


def _target(names: Sequence[str], where: str, target: str | None) -> tuple[str, list[str]]:
    """Find the column of the labels, and say how it was found."""
    if target is not None:
        if target.strip() in names:
            return target.strip(), []
        raise DataError(_no_column(names, where, target))
    if not names:
        raise DataError(f"{where}: has no columns; give a table with named columns")
    called_so = [name for name in names if name.lower() in TARGETS]
    found = called_so[0] if len(called_so) == 1 else names[-1]
    how = "by its name" if len(called_so) == 1 else "the last column"
    return found, [f"the labels are in {shorten(found)!r}, {how}; --target names another"]


def _labels_if_any(
    raw: RawTable, target: str | None, classes: Sequence[str]
) -> NDArray[Any] | None:
    if target is None or target not in raw.columns:
        return None
    return _labels(raw, target, classes)[0]


def _labels(raw: RawTable, name: str, known: Sequence[str] = ()) -> tuple[NDArray[Any], list[str]]:
    """Read labels, ``int64`` or texts, and remarks.

    See :func:`~cotune.data.readers.arrays.parse_labels`.

    Args:
        known: Classes; where all texts are among them, they remain as they are.
    """
    import pyarrow as pa

    kind = raw.columns[name].type
    labels: NDArray[Any]
    if pa.types.is_boolean(kind) or pa.types.is_dictionary(kind) or is_text(kind):
        codes, texts = read_texts(raw, name)
        words = [text for text in texts if text in MISSING_WORDS]
        others = {*texts, *known} - set(MISSING_WORDS)
        is_text_class = any(text in known for text in words) or are_texts(others)
        if words and not is_text_class:
            codes, texts = read_texts(drop_words(raw, {name: ()}), name)
        _check_labelled(raw, name, codes < 0, is_text_class)
        if max(map(len, texts)) > LONGEST_TEXT:
            raise DataError(
                f"{raw.where}: column {shorten(name)!r} holds texts of more than {LONGEST_TEXT} "
                "characters; name a column of labels with --target"
            )
        if all(map(_DATE.fullmatch, texts)):
            raise _holds_dates(raw, name)
        if set(texts) <= set(known):
            return np.array(texts, np.str_)[codes], []
        distinct = parse_labels(texts)
        if distinct.dtype.kind == "U" and name not in raw.categories:
            _check_no_fractions(raw, name, codes, texts)
        labels = distinct[codes]
        remarks = [
            f"{word!r} in {shorten(name)!r} ({np.sum(labels == word):,} rows) is read as a class, "
            "not as a missing label"
            for word in words
            if is_text_class
        ]
        return labels, remarks
    if pa.types.is_temporal(kind):
        raise _holds_dates(raw, name)
    column = raw.columns[name].combine_chunks()
    missing = column.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    _check_labelled(raw, name, missing, False)
    if pa.types.is_integer(kind):
        return as_labels(column.to_numpy(), f"{raw.where}: column {shorten(name)!r}"), []
    numbers = read_numbers(raw, name)
    wrong = np.flatnonzero((numbers != np.rint(numbers)) | (np.abs(numbers) >= _EXACT))
    if len(wrong):
        raise _no_class(raw, name, wrong[0], numbers[wrong[0]])
    return numbers.astype(np.int64), []


def _check_no_fractions(
    raw: RawTable, name: str, codes: NDArray[np.int64], texts: Sequence[str]
) -> None:
    """Raise ``DataError`` where the labels are all numbers, and not all of them whole."""
    numbers = parse_numbers(raw, texts)
    if np.isnan(numbers).any():
        return
    wrong = np.flatnonzero((~np.isfinite(numbers) | (numbers != np.rint(numbers)))[codes])
    if len(wrong):
        raise _no_class(raw, name, wrong[0], numbers[codes[wrong[0]]])


def _no_class(raw: RawTable, name: str, row: int, number: float) -> DataError:
    return raw.error(
        row,
        name,
        f"{number:g} is no class; labels are texts or whole numbers (regression is not what Cotune "
        "does); name another column with --target",
    )


def _holds_dates(raw: RawTable, name: str) -> DataError:
    return DataError(
        f"{raw.where}: column {shorten(name)!r} holds dates or times; name a column of labels, "
        "texts or whole numbers, with --target"
    )


def _check_labelled(raw: RawTable, name: str, missing: NDArray[np.bool_], are_texts: bool) -> None:
    """Raise ``DataError`` where labels are missing.

    Args:
        are_texts: A word for a missing value may be meant as a class.
    """
    rows = np.flatnonzero(missing)
    if len(rows) == 0:
        return
    word = shorten(raw.written(int(rows[0]), name))
    count = f"{len(rows):,} of {len(missing):,} rows"
    if word and are_texts:
        problem = (
            f"the label is missing ({word} without quotes), as in {count}; where {word} is a class "
            f'write it in quotes, "{word}", else label the rows or drop them'
        )
    elif len(rows) == 1:
        problem = "the label is missing; label the row or drop it"
    else:
        problem = f"the label is missing, as in {count}; label the rows or drop them"
    raise raw.error(rows[0], name, problem)


def _alike(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as texts where one is."""
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
