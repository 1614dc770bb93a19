"""NumPy's masked arrays as plain ones, in which masked cells are missing."""

from __future__ import annotations

from typing import Any

import numpy as np


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
