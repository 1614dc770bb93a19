"""Classes of very different sizes: when they are called uneven, and what is proposed then."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from cotune.text import shown_class

UNEVEN: Final = 3
"""Times as many rows as the rarest class that call classes uneven."""

OTHER_METRICS: Final = "balanced-accuracy, f1 or auc"


def is_uneven(counts: Sequence[int]) -> bool:
    """Return whether the largest class has over :data:`UNEVEN` times the rows of the smallest.

    Args:
        counts: Rows of each class.
    """
    return max(counts) > UNEVEN * min(counts)


def uneven_remark(
    counts: Sequence[int],
    classes: Sequence[str],
    metric: str,
    searched: Collection[str],
    fixed: Collection[str],
) -> str:
    """Propose another metric and class weights where classes are uneven; else return "".

    Args:
        counts: Rows of each class.
        classes: Their names.
        metric: The run's.
        searched, fixed: Names of the space's hyperparameters.
    """
    if metric != "accuracy" or not is_uneven(counts):
        return ""
    most, least = counts.index(max(counts)), counts.index(min(counts))
    weights = "or class weights: --set class_weight=1 counts all classes alike"
    if "class_weight" in searched:
        weights = "class weights are searched, --set class_weight=1 counts all classes alike"
    elif "class_weight" in fixed:
        weights = "class weights are set"
    return (
        f"the classes are imbalanced: {counts[most] / sum(counts):.1%} of the rows are "
        f"{shown_class(classes[most])}, {counts[least] / sum(counts):.1%} "
        f"{shown_class(classes[least])}; consider --metric {OTHER_METRICS}; {weights}"
    )
