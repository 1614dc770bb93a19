"""Columns that count or name the rows, as an index does; what is learned from one is the order."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

_CALLED_SO: Final = re.compile(
    r"""unnamed:?[ _]?\d+(\.\d+)*|level_\d+|index|idx|ids?|\#|pk|uid|uuid|guid|seqn?|serial
    |(row|line|record|obs|observation|sample|case|item|entry|serial|s|sr)?[ _.]*
     (no|nr|num|number|id|index|idx)\.?
    |row|rownames?|ids?[ _.-].*
    |(customer|user|passenger|patient|order|client|account|employee|student|transaction)ids?""",
    re.I | re.X,
)
_ENDS_SO: Final = re.compile(r".*([ _.-]id|[a-z]I[dD]|[ _-]no\.?)", re.S)
_FEWEST: Final = 10  # rows from which a counter is told from chance


def is_called_id(name: str) -> bool:
    """Tell whether a column's name says that it numbers or names the rows."""
    return bool(_CALLED_SO.fullmatch(name) or _ENDS_SO.fullmatch(name))


def find_counter(name: str, values: NDArray[np.float64], is_first: bool) -> tuple[bool, str] | None:
    """Return whether a column of numbers counts or names the rows for certain, and why.

    Args:
        name: The column's name.
        values: ``[rows]`` in the order of the file, NaN where a cell is missing.
        is_first: Whether it is the table's first column.

    Returns:
        ``(True, why)`` where it does; ``(False, why)`` where it may; None where nothing says so.
    """
    n = len(values)
    if n < _FEWEST or not (values == np.rint(values)).all():  # a missing cell is unequal
        return None
    steps = np.diff(values)
    called = is_called_id(name)
    distinct = len(np.unique(values)) == n
    if not distinct:
        if called and (steps >= 0).all():
            return False, "it is called as an id is, and rises from row to row"
        return (False, "it is called as an id is, and repeats") if called else None
    low, high = values.min(), values.max()
    if (steps == steps[0]).all():
        if abs(steps[0]) == 1 and low in (0, 1):
            return True, f"it counts the rows, from {values[0]:g} to {values[-1]:g}"
        return called, f"it rises by {steps[0]:g} from row to row, as a counter does"
    if called:
        return True, "it is called as an id is, and all its whole numbers differ"
    if low in (0, 1) and high == low + n - 1:
        return is_first, f"it counts the rows, from {low:g} to {high:g} in another order"
    return None
