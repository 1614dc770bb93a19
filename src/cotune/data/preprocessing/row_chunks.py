"""Rows of an array, some at a time, and the shape of one as a model keeps it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cotune.exceptions import ModelFileError

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


def check_shape(shape: object) -> None:
    """Raise ``ModelFileError`` unless it is a list of positive whole numbers."""
    if (
        not isinstance(shape, list)
        or not shape
        or not all(type(size) is int and size > 0 for size in shape)
    ):
        raise ModelFileError(
            "preprocessing.input_shape: a list of positive whole numbers expected; "
            "export the model again"
        )
