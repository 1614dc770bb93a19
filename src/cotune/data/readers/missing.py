"""Missing cells of arrays: NaN, None and pandas' NA in rows of features, as in tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import Column
from cotune.data.preprocessing.preprocess import Preprocessing, Standardize
from cotune.data.tables.mixed_objects import kind_of


def columns_with_missing(*arrays: NDArray[Any] | None) -> tuple[Column, ...]:
    """Return columns of numbers, named by their places, where a cell of the arrays is NaN.

    Returns:
        One for each feature, so that the arrays are treated as a table is; () where nothing is
        missing, or the rows are no plain features.
    """
    first = arrays[0]
    if first is None or first.ndim != 2:
        return ()
    for array in arrays:
        if array is not None and array.dtype.kind == "f" and bool(np.isnan(array).any()):
            return tuple(Column(str(place), "number") for place in range(first.shape[1]))
    return ()


def fill_missing(preprocessing: Preprocessing, rows: NDArray[Any]) -> NDArray[Any]:
    """Fill cells that are NaN with the mean of the training split.

    Of a feature that was never missing in training, a model knows nothing better; the cells of
    tables get their median.

    Args:
        rows: ``[rows, features]``; rows of other shapes stay as they are.
    """
    if not isinstance(preprocessing, Standardize) or len(preprocessing.input_shape) > 1:
        return rows
    if rows.ndim != 2 or rows.dtype.kind != "f" or not np.isnan(rows).any():
        return rows
    filled: NDArray[Any] = np.where(np.isnan(rows), np.asarray(preprocessing.mean), rows)
    return filled


def numbers_of_objects(array: NDArray[Any]) -> NDArray[Any]:
    """Convert numbers that are Python objects to an array of numbers, None and NA to NaN.

    An array that holds anything else stays as it is.
    """
    if array.dtype.kind != "O":
        return array
    kinds = [kind_of(cell) for cell in array.flat]
    if not set(kinds) <= {"a number", "a boolean", ""}:
        return array
    known = np.array([kind != "" for kind in kinds], bool).reshape(array.shape)
    if known.all() and (numbers := np.array(array.tolist())).dtype.kind in "buif":
        return numbers
    filled = np.full(array.shape, np.nan)
    try:
        filled[known] = array[known].astype(np.float64)  # decimals too
    except (OverflowError, TypeError):  # a whole number beyond floats, a complex one
        return array
    return filled
