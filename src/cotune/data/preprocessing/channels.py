"""The axis of an array's rows whose entries are channels, each with a scale of its own."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

_VALUES: Final = 2**20  # looked at
_FEWEST: Final = 16  # rows looked at
_DROWNED: Final = 0.01  # spread of an entry beside the largest, below which one scale loses it
_FEW: Final = 4  # entries that are channels whatever the other axes have
_SHORTER: Final = 2  # times that the other axes are longer than that of channels


def find_channels(inputs: NDArray[np.generic], asked: str = "auto") -> int | None:
    """Find the axis of channels, whose entries are scaled each by itself.

    Bytes are pixels, with one scale for all. Elsewhere an axis is read as channels if the
    spread (interquartile range) of some entry is less than a hundredth of the largest, and the
    other axis shows no such thing. Otherwise, of floats, the first or the last axis is, whichever
    is shorter, if it has up to four entries (of rows of three axes or more) or at most half as
    many as the others.

    Args:
        inputs: ``[rows, ...]`` without missing values.
        asked: ``first``, ``last``, ``none`` or ``auto``.

    Returns:
        Its place in a row's shape; None where the whole row has one scale, or one each feature.
    """
    shape = inputs.shape[1:]
    if len(shape) < 2 or asked == "none" or len(inputs) == 0:
        return None
    first, last = 0, len(shape) - 1
    if asked != "auto":
        return first if asked == "first" else last
    if inputs.dtype == np.uint8 or inputs.dtype.kind == "b":
        return None
    sample = _sample(inputs)
    differing = [axis for axis in (first, last) if _differ(sample, axis)]
    if len(differing) == 1:
        return differing[0]
    if inputs.dtype.kind != "f" and not differing:
        return None
    axis = first if shape[first] < shape[last] else last
    shortest = min(size for place, size in enumerate(shape) if place != axis)
    few = len(shape) > 2 and shape[axis] <= _FEW
    is_shorter = shape[axis] > 1 and (few or _SHORTER * shape[axis] <= shortest)
    return axis if is_shorter else None


def _sample(inputs: NDArray[np.generic]) -> NDArray[np.float64]:
    """Take rows from all over, of about a million values."""
    count = max(_FEWEST, _VALUES // math.prod(inputs.shape[1:]))
    places = np.unique(np.linspace(0, len(inputs) - 1, min(count, len(inputs))).astype(np.int64))
    return inputs[places].astype(np.float64)


def _differ(rows: NDArray[np.float64], axis: int) -> bool:
    """Tell whether one scale for all loses an entry of this axis.

    Entries that hardly ever change, as the margins of images do, have no spread and do not count.
    """
    entries = np.moveaxis(rows, axis + 1, 0).reshape(rows.shape[axis + 1], -1)
    with np.errstate(over="ignore", invalid="ignore"):
        spreads = np.subtract(*np.quantile(entries, [0.75, 0.25], axis=1))
        whole = float(np.subtract(*np.quantile(rows, [0.75, 0.25])))
    known = spreads[spreads > 0]
    return len(known) > 0 and bool(known.min() < _DROWNED * max(whole, known.max()))
