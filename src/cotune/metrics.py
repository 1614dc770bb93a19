"""Scores of classifiers that weigh all classes alike, for several lanes at once."""

from __future__ import annotations

import torch
from torch import Tensor

_CHANCE = 0.5


def balanced_accuracy(confusion: Tensor) -> Tensor:
    """Mean recall of the classes that occur, ``float64 [lanes]``.

    Args:
        confusion: Counts, ``[lanes, true, predicted]``.
    """
    hits, rows = confusion.diagonal(dim1=1, dim2=2).double(), confusion.sum(2)
    return (hits / rows.clamp(min=1)).sum(1) / (rows > 0).sum(1)


def macro_f1(confusion: Tensor) -> Tensor:
    """Mean F1 of all classes, ``float64 [lanes]``.

    F1 = 2 TP / (2 TP + FP + FN); a class that neither occurs nor is predicted scores 0.

    Args:
        confusion: Counts, ``[lanes, true, predicted]``.
    """
    hits = confusion.diagonal(dim1=1, dim2=2)
    both = confusion.sum(1) + confusion.sum(2)
    return (2 * hits.double() / both.clamp(min=1)).mean(1)


def macro_auc(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Area under the ROC curve, each class against the rest, ``float64 [lanes]``.

    A class's area is the chance that one of its rows has a higher probability of it than one of
    the others has; equal ones count half (Mann and Whitney 1947). Of two classes it is the
    second's; of more the mean over those that occur. Where there is one class only, it is 0.5.

    Args:
        probabilities: ``[rows, lanes, classes]``.
        labels: ``[rows]``.
    """
    n_classes = probabilities.shape[2]
    areas = []
    for c in (1,) if n_classes == 2 else range(n_classes):
        own = labels == c
        positive = probabilities[own, :, c].t().contiguous()
        negative = probabilities[~own, :, c].t().contiguous().sort(1).values
        pairs = positive.shape[1] * negative.shape[1]
        if pairs:
            below = torch.searchsorted(negative, positive)
            not_above = torch.searchsorted(negative, positive, right=True)
            areas.append((below + not_above).sum(1).double() / (2 * pairs))
    if not areas:
        return probabilities.new_full(probabilities.shape[1:2], _CHANCE, dtype=torch.float64)
    return torch.stack(areas).mean(0)
