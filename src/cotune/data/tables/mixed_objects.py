"""Python objects of several types in one column or array, named plainly."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cotune.data.tables.missing_words import MISSING_WORDS
from cotune.exceptions import DataError
from cotune.text import one_line, shorten


def to_table(frame: Any, what: str) -> Any:
    """Make a DataFrame an Arrow table.

    In a column of Python objects that are numbers or booleans otherwise, words for a missing value
    are missing.

    Args:
        what: What messages begin with.

    Raises:
        DataError: It cannot be read: above all, a column holds objects of several types.
    """
    import pyarrow as pa

    try:
        return pa.table(frame)
    except (pa.ArrowException, ValueError, TypeError) as error:
        mended = _mend(frame, what)
        try:
            return pa.table(mended)
        except (pa.ArrowException, ValueError, TypeError):
            raise DataError(f"{what}: cannot be read: {one_line(error)}; fix the table") from error


def as_array(values: Any) -> NDArray[Any]:
    """Return an array of whatever NumPy makes one of, but lists of texts and others as objects.

    NumPy would make texts of all of them, and of NaN the text nan. Masked cells are missing.

    Raises:
        ValueError: Lists are of different lengths.
    """
    array = np.asarray(without_mask(values))
    if array.dtype.kind == "U" and isinstance(values, (list, tuple)):
        objects = np.asarray(values, object)
        if any(kind_of(value) != "a text" for value in objects.flat):
            return objects
    return array


def without_mask(values: Any) -> Any:
    """Return a masked array with NaN where it is masked; None in an array of other than numbers.

    NumPy itself would show the value below the mask, often a mark such as -999. Anything but a
    masked array is returned as it is.
    """
    if not isinstance(values, np.ma.MaskedArray):
        return values
    if not np.ma.is_masked(values):
        return values.data
    numbers, floats = values.dtype.kind in "buif", values.dtype.kind == "f"
    kind = values.dtype if floats else np.dtype(np.float64 if numbers else object)
    plain = np.array(values.data, kind)
    plain[np.ma.getmaskarray(values)] = np.nan if numbers else None
    return plain


def kind_of(value: Any) -> str:
    """Return the kind of a Python object, with its article; empty where it is missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "a boolean"
    if isinstance(value, (int, float, np.number, decimal.Decimal)):
        return "a number" if value == value else ""
    if isinstance(value, str):
        return "a text"
    if isinstance(value, (datetime.date, datetime.time, np.datetime64)):
        return "a date"
    return f"of type {type(value).__name__}"


def first_of_kinds(values: Iterable[Any]) -> dict[str, tuple[int, int]]:
    """Return for each kind of object how many there are and the place of the first."""
    found: dict[str, tuple[int, int]] = {}
    for place, value in enumerate(values):
        if kind := kind_of(value):
            count, first = found.get(kind, (0, place))
            found[kind] = count + 1, first
    return found


def _mend(frame: Any, what: str) -> Any:
    """Return a DataFrame whose columns of objects are of one type each."""
    if not hasattr(frame, "items") or not hasattr(frame, "assign"):
        return frame
    mended = {}
    for name, values in frame.items():
        if values.dtype == object:
            mended[name] = _of_one_kind(values.to_numpy(), str(name), what)
    return frame.assign(**mended) if all(isinstance(name, str) for name in mended) else frame


def _of_one_kind(values: Any, name: str, what: str) -> Any:
    bare = [None if isinstance(v, str) and v.strip() in ("", *MISSING_WORDS) else v for v in values]
    found = set(first_of_kinds(bare))
    if found == {"a boolean", "a number"}:
        return np.array([float(value or 0) if kind_of(value) else np.nan for value in bare])
    kinds = first_of_kinds(values)
    if len(found) == 1 and "a text" not in found:
        return np.array(bare, object)
    if len(kinds) < 2:
        return values
    ranked = sorted(kinds, key=lambda kind: -kinds[kind][0])
    usual, other = ranked[0], ranked[-1]
    (count, example), (_, row) = kinds[usual], kinds[other]
    raise DataError(
        f"{what}:{row}:{shorten(name)}: {shorten(repr(values[row]))} is {other}, where "
        f"{count:,} rows have {usual}, as {shorten(repr(values[example]))} in row {example}; make "
        "the column all numbers or all texts"
    )
