"""Steps that all preprocessings share: rows in chunks, and checks."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cotune.exceptions import DataError, ModelFileError

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


def damaged(problem: str, key: str = "") -> ModelFileError:
    """Return the error of a description that is not as a model writes it.

    Args:
        key: Of what is wrong; "" for the whole.
    """
    where = f"preprocessing.{key}" if key else "preprocessing"
    return ModelFileError(f"{where}: {problem}; export the model again")


def read_numbers(
    value: object, length: int | None, key: str, kinds: tuple[type, ...] = (int, float)
) -> Any:
    """Read a finite number, or a list of ``length`` of them as a tuple.

    Raises:
        ModelFileError: It is none; the message names ``key``.
    """
    numbers = [value] if length is None else value
    if (
        not isinstance(numbers, list)
        or len(numbers) != (1 if length is None else length)
        or not all(
            type(number) in kinds and abs(number) <= sys.float_info.max for number in numbers
        )
    ):
        expected = "a finite number" if length is None else f"{length} finite numbers"
        raise damaged(f"{expected} expected", key)
    return numbers[0] if length is None else tuple(numbers)


def check_shape(shape: object) -> None:
    """Raise ``ModelFileError`` unless it is a list of positive whole numbers."""
    if (
        not isinstance(shape, list)
        or not shape
        or not all(type(size) is int and size > 0 for size in shape)
    ):
        raise damaged("a list of positive whole numbers expected", "input_shape")
