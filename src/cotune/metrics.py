"""Scores of classifiers, each defined here once.

The engine scores several lanes at once from their confusion matrices; :func:`scores_of` scores one
model, wherever its logits come from.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHANCE = 0.5
"""The AUC of a model that ranks rows at random."""


def balanced_accuracy(confusion: Tensor) -> Tensor:
    """Return the mean recall of the classes that occur, ``float64 [lanes]``.

    Args:
        confusion: Counts, ``[lanes, true, predicted]``.
    """
    hits, rows = confusion.diagonal(dim1=1, dim2=2).double(), confusion.sum(2)
    return (hits / rows.clamp(min=1)).sum(1) / (rows > 0).sum(1).clamp(min=1)


def macro_f1(confusion: Tensor) -> Tensor:
    """Return the mean F1 of the classes that occur or are predicted, ``float64 [lanes]``.

    F1 = 2 TP / (2 TP + FP + FN). A class that neither occurs nor is predicted has none and is left
    out, as in scikit-learn's ``f1_score(average="macro")``.

    Args:
        confusion: Counts, ``[lanes, true, predicted]``.
    """
    hits = confusion.diagonal(dim1=1, dim2=2)
    both = confusion.sum(1) + confusion.sum(2)
    return (2 * hits.double() / both.clamp(min=1)).sum(1) / (both > 0).sum(1).clamp(min=1)


def macro_auc(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the area under the ROC curve, each class against the rest, ``float64 [lanes]``.

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
        return probabilities.new_full(probabilities.shape[1:2], CHANCE, dtype=torch.float64)
    return torch.stack(areas).mean(0)


def confusion_matrix(predicted: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Count the rows by true and predicted class, ``int64 [true, predicted]``.

    Args:
        predicted, labels: ``[rows]`` class indices.
    """
    cells = torch.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return cells.view(n_classes, n_classes)


def scores_of(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Score a model on some rows by every metric, as the engine scores trials.

    Args:
        logits: ``[rows, classes]``, at least one row.
        labels: ``[rows]`` class indices.

    Returns:
        By :data:`cotune.records.DIRECTIONS`; without ``auc`` where all rows are of one class, as
        there is then nothing to tell apart.
    """
    logits = logits.double()
    probabilities = logits.softmax(-1)
    predicted = probabilities.argmax(1)
    confusion = confusion_matrix(predicted, labels, logits.shape[1])[None]
    scores = {
        "accuracy": (predicted == labels).double().mean(),
        "balanced-accuracy": balanced_accuracy(confusion),
        "f1": macro_f1(confusion),
        "auc": macro_auc(probabilities[:, None], labels),
        "loss": F.cross_entropy(logits, labels),
    }
    if bool((labels == labels[0]).all()):
        del scores["auc"]
    return {name: float(value) for name, value in scores.items()}
