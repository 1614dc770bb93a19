"""By how much a score differs by chance alone: its standard error on a part of so many rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

SURE: Final = 1.96
"""Standard errors to each side of a 95 % interval."""


def standard_error(metric: str, value: float, counts: Sequence[int]) -> float:
    """Return about the standard error of a score; 0 for a loss, of which nothing is known.

    Args:
        metric: One of :data:`cotune.metrics.METRICS`.
        value: The score.
        counts: Rows of each class that it is of.
    """
    present = [count for count in counts if count > 0]
    if metric == "loss" or not present:
        return 0.0
    if metric == "auc":
        return _of_area(value, present)
    rows: float = sum(present)
    if metric != "accuracy":
        # A mean over classes, each a share of its rows: as a share of fewer rows.
        rows = len(present) ** 2 / sum(1 / count for count in present)
    return math.sqrt(max(0.0, value * (1.0 - value)) / rows)


def _of_area(area: float, counts: Sequence[int]) -> float:
    """Return that of the mean of areas under ROC curves, each class against the rest.

    Each as in Hanley and McNeil (1982), eq. 1 and 2, and as if they varied apart; of two classes
    there is one area.
    """
    both = area / (2.0 - area)  # two positives are above one negative
    neither = 2.0 * area**2 / (1.0 + area)
    variances = []
    for own in counts:
        others = sum(counts) - own
        if others:
            spread = (own - 1) * (both - area**2) + (others - 1) * (neither - area**2)
            variances.append((area * (1.0 - area) + spread) / (own * others))
    if len(counts) <= 2:
        return math.sqrt(max(0.0, variances[-1])) if variances else 0.0
    return math.sqrt(max(0.0, sum(variances))) / len(variances)


def mcnemar(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the chance of a difference as large between two models that are equally good.

    McNemar's test (McNemar 1947), exact: of the rows that one model alone gets right, each model
    has half on average.

    Args:
        right, other: ``[rows]``: whether each model classified each row right.
    """
    from scipy.stats import binomtest

    only_one, only_other = int((right & ~other).sum()), int((other & ~right).sum())
    if only_one == only_other:
        return 1.0
    return float(binomtest(only_one, only_one + only_other).pvalue)
