"""Steps and types that all preprocessings share."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Annotated, Final

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from cotune.exceptions import DataError

_LARGEST: Final = sys.float_info.max
Finite = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]
Positive = Annotated[float, Meta(gt=0, le=_LARGEST)]
NotNegative = Annotated[float, Meta(ge=0, le=_LARGEST)]
Shape = Annotated[tuple[Annotated[int, Meta(gt=0)], ...], Meta(min_length=1)]

_CHUNK: Final = 2**18  # values at a time: 2 MiB of float64, about a core's cache


def chunks_of(
    inputs: NDArray[np.generic], rows: NDArray[np.int64] | None = None
) -> Iterator[NDArray[np.generic]]:
    """Yield the rows, or all without ``rows``, as ``[some, features]``."""
    features = math.prod(inputs.shape[1:])
    step = max(1, _CHUNK // features)
    for start in range(0, len(inputs) if rows is None else len(rows), step):
        chosen = slice(start, start + step) if rows is None else rows[start : start + step]
        some = inputs[chosen]
        yield some.reshape(len(some), features)


def check_rows(inputs: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    """Raise ``DataError`` unless all rows have a shape, and hold numbers."""
    if tuple(inputs.shape[1:]) != shape or inputs.ndim == 0:
        raise DataError(
            f"rows have shape {tuple(inputs.shape[1:])}, the model was trained on {shape}; give "
            "rows of that shape"
        )
    if inputs.dtype.kind not in "buif":
        raise DataError(f"the inputs are of type {inputs.dtype}; give an array of numbers")
