"""SciPy's sparse matrices and arrays, and DataFrames of sparse columns, as dense ones."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cotune.data.memory import free_memory
from cotune.exceptions import DataError

_SHARE: Final = 0.25  # of the free memory; preprocessing and splitting take as much again
_FRAME_BYTES: Final = 8  # of a cell of a DataFrame


def is_sparse(values: Any) -> bool:
    """Tell whether it is one of SciPy's sparse matrices or arrays."""
    return hasattr(values, "nnz") and hasattr(values, "toarray")


def to_dense(values: Any, what: str) -> NDArray[Any]:
    """Return a sparse matrix or array as a dense one of the same type.

    The numbers stay exact, so that rows are recognised whether they come sparse or dense.

    Args:
        values: ``[rows, features]``, of any of SciPy's formats.
        what: What a message begins with.

    Raises:
        DataError: It would take over a quarter of the free memory, or does not hold numbers.
    """
    if values.dtype.kind not in "buif":
        raise DataError(f"{what} are of type {values.dtype}; give numbers")
    _check_dense_size(values.shape, values.dtype.itemsize, what)
    dense: NDArray[Any] = np.asarray(values.toarray())
    return dense


def _check_dense_size(shape: tuple[int, ...], itemsize: int, what: str) -> None:
    """Raise ``DataError`` unless a dense array of cells of ``itemsize`` bytes has room."""
    most = _SHARE * free_memory()
    needed = itemsize * math.prod(shape)
    if needed > most:
        size = " x ".join(f"{length:,}" for length in shape)
        raise DataError(
            f"{what} are sparse, {size}: dense they take {needed / 1e9:.1f} GB, "
            f"more than {most / 1e9:.1f} GB, a quarter of the free memory; give fewer features, "
            "as by max_features, SelectKBest or TruncatedSVD"
        )


def to_dense_frame(frame: Any, what: str) -> Any:
    """Return a DataFrame of pandas with its sparse columns dense; any other table as it is.

    Raises:
        DataError: It would not fit the memory.
    """
    kinds: Any = getattr(frame, "dtypes", None)
    if not hasattr(kinds, "items"):
        return frame
    sparse = {name: kind.subtype for name, kind in kinds.items() if hasattr(kind, "fill_value")}
    if not sparse:
        return frame
    _check_dense_size(frame.shape, _FRAME_BYTES, what)
    return frame.astype(sparse)
